"""What is made from the table of metrics is up to date, names nothing that isn't there, and does what it says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from spoolq.metrics.table import BY_NAME, METRICS

ROOT = Path(__file__).parents[1]
RULES = ROOT / "contrib" / "prometheus" / "spoolq.rules.yml"
BOARD = ROOT / "contrib" / "grafana" / "spoolq.json"
PAGE = ROOT / "docs" / "metrics.md"
_NAME = re.compile(r"\bspoolq_[a-z_]+[a-z]\b")
_BY = re.compile(r"\b(?:by|without|on) \(([^)]*)\)")
_MATCHER = re.compile(r"[{,] ?(\w+)=~?\"")

ASKED_FOR = {  # the names and labels that were agreed on
    "spoolq_build_info": None,
    "spoolq_jobs_enqueued_total": "queue route",
    "spoolq_enqueue_errors_total": "queue reason",
    "spoolq_enqueue_duration_seconds": "route",
    "spoolq_redis_errors_total": "reason operation",
    "spoolq_breaker_state": "state",
    "spoolq_breaker_transitions_total": "to",
    "spoolq_outage_seconds_total": "",
    "spoolq_spool_jobs": "queue state",
    "spoolq_spool_bytes": "",
    "spoolq_spool_limit_bytes": "",
    "spoolq_spool_disk_free_bytes": "",
    "spoolq_spool_oldest_timestamp_seconds": "queue",
    "spoolq_spool_rejected_total": "",
    "spoolq_drained_jobs_total": "queue outcome",
    "spoolq_drain_lag_seconds": "",
    "spoolq_drainer_last_success_timestamp_seconds": "",
    "spoolq_queue_jobs": "queue state store",
    "spoolq_queue_oldest_timestamp_seconds": "queue",
    "spoolq_jobs_processed_total": "queue task outcome",
    "spoolq_job_duration_seconds": "queue task",
    "spoolq_job_wait_seconds": "queue",
    "spoolq_workers": "state",
    "spoolq_workers_wanted": "",
    "spoolq_autoscale_decisions_total": "direction reason",
    "spoolq_failure_log_writes_total": "backend outcome",
}


@pytest.fixture(scope="module")
def promtool() -> str:
    path = shutil.which("promtool")
    if path is None:
        pytest.fail("no promtool on PATH: install Debian's `prometheus`", pytrace=False)
    return path


def expressions() -> list[str]:
    board = json.loads(BOARD.read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return queries + [json.loads(found) for found in re.findall(r"expr: (\".*\")", RULES.read_text())]


def test_the_names_and_labels_that_were_agreed_on_are_there() -> None:
    for name, labels in ASKED_FOR.items():
        assert labels is None or BY_NAME[name].labels == tuple(labels.split()), name
    assert "spoolq_build_info" in BY_NAME


@pytest.mark.parametrize("metric", METRICS, ids=lambda one: one.name)
def test_each_metric_is_named_and_explained_as_prometheus_wants_it(metric: Any) -> None:
    assert re.fullmatch(r"spoolq_[a-z_]+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert not {"worker", "id", "job_id", "error", "host"} & set(metric.labels)
    assert metric.help[0].isupper() or metric.help[0].isdigit()
    assert metric.help.endswith(".")
    if metric.unit == "s":
        assert "seconds" in metric.name


def test_what_is_made_is_up_to_date() -> None:
    ran = subprocess.run([sys.executable, ROOT / "scripts" / "metrics-pages", "--check"], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, ""), "run scripts/metrics-pages"


def test_something_stale_would_be_seen(tmp_path: Path) -> None:
    for part in ("scripts", "contrib", "docs", "spoolq"):
        (tmp_path / part).symlink_to(ROOT / part) if part == "spoolq" else shutil.copytree(ROOT / part, tmp_path / part)
    (tmp_path / "contrib" / "prometheus" / "spoolq.rules.yml").write_text("groups: []\n")
    ran = subprocess.run([sys.executable, tmp_path / "scripts" / "metrics-pages", "--check"], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (1, "out of date: contrib/prometheus/spoolq.rules.yml\n")


@pytest.mark.parametrize("expression", expressions())
def test_every_name_and_label_that_is_used_is_there(expression: str) -> None:
    names = set(_NAME.findall(expression))
    assert names
    known = {"le", "instance", ""}
    for name in names:
        metric = BY_NAME.get(name) or BY_NAME[re.sub("_(bucket|sum|count)$", "", name)]
        assert name == metric.name or metric.kind == "histogram"
        known |= set(metric.labels)
    used = {label.strip() for found in _BY.findall(expression) for label in found.split(",")} | set(_MATCHER.findall(expression))
    assert used <= known


def test_the_page_names_every_metric_and_no_other() -> None:
    page = PAGE.read_text()
    assert {name for name in re.findall(r"`(spoolq_[a-z_]+)`", page) if not name.endswith("_")} == set(BY_NAME)


def test_promtool_takes_the_rules(promtool: str) -> None:
    ran = subprocess.run([promtool, "check", "rules", RULES], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr + ran.stdout
    assert "rules found" in ran.stdout


TESTS = """
rule_files: [RULES]
evaluation_interval: 1m
tests:
  - name: jobs that nobody took are told at once, and no longer than they are news
    interval: 1m
    input_series:
      - {series: 'spoolq_spool_rejected_total{instance="web1"}', values: '0 0 0 3 3 3 3 3 3 3 3 3 3 3 3 3 3'}
    alert_rule_test:
      - {eval_time: 2m, alertname: SpoolqJobsRejected, exp_alerts: []}
      - eval_time: 4m
        alertname: SpoolqJobsRejected
        exp_alerts:
          - exp_labels: {severity: critical, instance: web1}
            exp_annotations: {summary: 'SUMMARY', description: 'DESCRIPTION'}
      - {eval_time: 16m, alertname: SpoolqJobsRejected, exp_alerts: []}
  - name: rows that wait while Redis answers are told, those that wait in an outage are not
    interval: 1m
    input_series:
      - {series: 'spoolq_drain_lag_seconds{instance="web1"}', values: '0+60x20'}
      - {series: 'spoolq_drain_lag_seconds{instance="web2"}', values: '0+60x20'}
      - {series: 'spoolq_store_up{store="primary",instance="web1"}', values: '1x20'}
      - {series: 'spoolq_store_up{store="primary",instance="web2"}', values: '0x20'}
    promql_expr_test:
      - expr: ALERTS{alertname="SpoolqNotDraining",alertstate="firing"}
        eval_time: 10m
        exp_samples:
          - labels: 'ALERTS{alertname="SpoolqNotDraining",alertstate="firing",instance="web1",severity="critical"}'
            value: 1
      - expr: ALERTS{alertname="SpoolqRedisGone",alertstate="firing"}
        eval_time: 10m
        exp_samples:
          - labels: 'ALERTS{alertname="SpoolqRedisGone",alertstate="firing",instance="web2",severity="warning",store="primary"}'
            value: 1
  - name: a queue without workers, one that is paused, one that is worked on
    interval: 1m
    input_series:
      - {series: 'spoolq_queue_jobs{queue="mail",state="ready",store="primary"}', values: '5x60'}
      - {series: 'spoolq_workers{state="busy"}', values: '0x60'}
      - {series: 'spoolq_workers{state="idle"}', values: '0x10 1x50'}
      - {series: 'spoolq_queue_oldest_timestamp_seconds{queue="mail"}', values: '0x60'}
      - {series: 'spoolq_queue_oldest_timestamp_seconds{queue="bulk"}', values: '0x60'}
      - {series: 'spoolq_queue_paused{queue="bulk"}', values: '1x60'}
    promql_expr_test:
      - expr: ALERTS{alertname="SpoolqNoWorkers",alertstate="firing"}
        eval_time: 8m
        exp_samples:
          - labels: 'ALERTS{alertname="SpoolqNoWorkers",alertstate="firing",queue="mail",severity="critical"}'
            value: 1
      - {expr: 'ALERTS{alertname="SpoolqNoWorkers",alertstate="firing"}', eval_time: 15m, exp_samples: []}
      - expr: ALERTS{alertname="SpoolqOldestJob",alertstate="firing"}
        eval_time: 40m
        exp_samples:
          - labels: 'ALERTS{alertname="SpoolqOldestJob",alertstate="firing",queue="mail",severity="warning"}'
            value: 1
  - name: old jobs while an operator has paused everything
    interval: 1m
    input_series:
      - {series: 'spoolq_queue_oldest_timestamp_seconds{queue="mail"}', values: '0x60'}
      - {series: 'spoolq_queue_paused{queue="*"}', values: '1x45 _x15'}
    promql_expr_test:
      - {expr: 'ALERTS{alertname="SpoolqOldestJob"}', eval_time: 40m, exp_samples: []}
      - expr: ALERTS{alertname="SpoolqOldestJob",alertstate="firing"}
        eval_time: 59m
        exp_samples:
          - labels: 'ALERTS{alertname="SpoolqOldestJob",alertstate="firing",queue="mail",severity="warning"}'
            value: 1
  - name: two exporters tell of the same jobs, and they are not twice as many
    interval: 1m
    input_series:
      - {series: 'spoolq_queue_jobs{queue="mail",state="ready",store="primary",instance="web1"}', values: '5x10'}
      - {series: 'spoolq_queue_jobs{queue="mail",state="ready",store="primary",instance="web2"}', values: '5x10'}
      - {series: 'spoolq_workers{state="idle",instance="web1"}', values: '0x10'}
      - {series: 'spoolq_workers{state="idle",instance="web2"}', values: '0x10'}
    alert_rule_test:
      - eval_time: 5m
        alertname: SpoolqNoWorkers
        exp_alerts:
          - exp_labels: {severity: critical, queue: mail}
            exp_annotations: {summary: '5 job(s) wait in queue mail, and no worker runs', description: 'NO_WORKERS'}
  - name: no exporter, and web servers that go on showing themselves
    interval: 1m
    input_series:
      - {series: 'spoolq_build_info{instance="web1"}', values: '1x20'}
      - {series: 'spoolq_store_up{store="spool",instance="web1"}', values: '1x20'}
      - {series: 'spoolq_store_up{store="primary",instance="web1-exporter"}', values: '1x5'}
    promql_expr_test:
      - {expr: 'ALERTS{alertname="SpoolqExporterGone"}', eval_time: 4m, exp_samples: []}
      - expr: ALERTS{alertname="SpoolqExporterGone",alertstate="firing"}
        eval_time: 18m
        exp_samples:
          - labels: 'ALERTS{alertname="SpoolqExporterGone",alertstate="firing",severity="warning",store="primary"}'
            value: 1
"""


def said(alert: str, word: str) -> str:
    """An alert's text."""
    [found] = re.findall(rf"{word}: (\".*\")", RULES.read_text().split(f"alert: {alert}\n")[1].split("alert:")[0])
    return str(json.loads(found))


def test_the_alerts_fire_when_they_should_and_not_else(promtool: str, tmp_path: Path) -> None:
    text = TESTS.replace("RULES", str(RULES)).replace("SUMMARY", said("SpoolqJobsRejected", "summary"))
    text = text.replace("DESCRIPTION", said("SpoolqJobsRejected", "description"))
    text = text.replace("NO_WORKERS", said("SpoolqNoWorkers", "description"))
    (tmp_path / "tests.yml").write_text(text)
    ran = subprocess.run([promtool, "test", "rules", tmp_path / "tests.yml"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
