"""What is done from the pages: each button as a person presses it, and what came of it in the stores."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.house import House
from tests.browser.tab import Tab
from tests.waiting import eventually

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def worked(house: House) -> House:
    """A worker takes the jobs of the queue `work`; those of others wait."""
    house.worker("--queues", "work")
    return house


def waiting(house: House, address: str, queue: str) -> int:
    """How many jobs are ready in that queue, by its document."""
    return int(house.ask(f"/queue.json?name={queue}", address)["queue"]["ready"])


def ids(house: House, address: str, path: str, kind: str = "jobs") -> list[str]:
    return [one["id"] for one in house.ask(path, address)[kind]]


def failed(tab: Tab, house: House, address: str, task: str, gate: str, *says: str) -> list[str]:
    """Jobs of that task that the worker let fail, each with an error of those words."""
    put = house.put(task, *[(gate, each) for each in says], queue="work")

    def known() -> bool:
        found = house.ask(f"/failures.json?error={gate}", address)["failures"]
        return {one["id"] for one in found} >= set(put)

    eventually(known, what="the failures")
    return put


def test_a_failure_is_retried(tab: Tab, worked: House, address: str) -> None:
    (id,) = failed(tab, worked, address, "broken", "retry-gate", "retry-gate is shut")
    page = tab.open("/failures?error=retry-gate")
    expect(page.get_by_role("main")).to_contain_text("retry-gate is shut")
    worked.open_gate("retry-gate")
    tab.press(f"Retry {id}")
    tab.told(f"{id} is in its queue again")
    eventually(lambda: id in worked.ran(), what="the job")
    tab.open("/failures?error=retry-gate")
    expect(page.get_by_text("fits this filter")).to_be_visible()


def test_failures_are_retried_by_filter(tab: Tab, worked: House, address: str) -> None:
    wanted = failed(tab, worked, address, "lost", "bulk-gate", *["bulk-gate is shut"] * 3)
    others = failed(tab, worked, address, "broken", "other-gate", "other-gate is shut")
    worked.open_gate("bulk-gate")
    page = tab.open("/failures")
    form = page.get_by_role("search")
    form.get_by_label("Class of error").fill("LookupError")
    form.get_by_label("Text of the error").fill("bulk-gate")
    form.get_by_role("button", name="Filter").click()
    expect(page).to_have_url(re.compile("class=LookupError"))  # the page before it has that row too, and a button for all
    expect(page.get_by_role("row").filter(has_text="LookupError").first).to_contain_text("3")
    tab.press("Retry all of these…")
    expect(tab.heading("Are you sure?")).to_be_visible()
    expect(page.get_by_role("main")).to_contain_text("3 failed jobs")
    tab.press("Retry them")
    tab.told("Put back 3 jobs.")
    eventually(lambda: worked.ran() >= set(wanted), what="the jobs")
    (left,) = others
    assert left in ids(worked, address, "/failures.json?error=other-gate", "failures")


def test_failures_are_discarded_after_a_word(tab: Tab, worked: House, address: str) -> None:
    failed(tab, worked, address, "broken", "discard-gate", "discard-gate is shut", "discard-gate is shut")
    page = tab.open("/failures?error=discard-gate")
    tab.press("Discard all of these…")
    with tab.refusing(422):
        typed(page, "nonsense", "Discard them")
        expect(page.get_by_text("That is not it. Nothing was changed.")).to_be_visible()
    assert len(worked.ask("/failures.json?error=discard-gate", address)["failures"]) == 2
    typed(page, "discard", "Discard them")
    tab.told("Deleted 2 failures.")
    assert worked.ask("/failures.json?error=discard-gate", address)["failures"] == []


def test_a_queue_is_paused_and_resumed(tab: Tab, house: House, address: str) -> None:
    house.put("send", ("a@example.com",), queue="halted")
    page = tab.open("/queues?name=halted")
    tab.press("Pause halted")
    tab.told("halted is paused")
    expect(tab.row("halted")).to_contain_text("paused")
    assert house.ask("/queue.json?name=halted", address)["queue"]["paused"] is True
    tab.press("Resume halted")
    tab.told("Workers take jobs of halted again")
    expect(tab.row("halted")).to_contain_text("open")
    assert house.ask("/queue.json?name=halted", address)["queue"]["paused"] is False
    tab.row("halted").get_by_role("link", name="halted").click()
    expect(tab.heading("halted")).to_be_visible()
    tab.press("Pause")
    expect(page.get_by_role("main")).to_contain_text("no worker takes its jobs")
    tab.press("Resume")
    expect(page.get_by_role("button", name="Pause", exact=True)).to_be_visible()


def typed(page: Page, word: str, button: str) -> None:
    page.get_by_label("Type").fill(word)
    page.get_by_role("button", name=button).click()


def test_a_queue_is_cleared_by_its_name_alone(tab: Tab, house: House, address: str) -> None:
    house.put("send", *[(f"{n}@example.com",) for n in range(3)], queue="doomed")
    page = tab.open("/queue?name=doomed")
    tab.press("Clear…")
    expect(page.get_by_role("main")).to_contain_text("Delete 3 ready jobs of doomed in Redis, for good?")
    page.get_by_role("link", name="Don't").click()
    expect(tab.heading("doomed")).to_be_visible()
    tab.press("Clear…")
    with tab.refusing(422):
        typed(page, "Doomed", "Clear the queue")
        expect(page.get_by_text("That is not it. Nothing was changed.")).to_be_visible()
    assert waiting(house, address, "doomed") == 3
    page.get_by_label("Type").press_sequentially("doomed")
    page.keyboard.press("Enter")
    tab.told("Deleted 3 jobs of doomed in Redis.")
    expect(tab.number("Ready")).to_have_text("0")


def test_a_job_is_run_next_moved_and_deleted(tab: Tab, house: House, address: str) -> None:
    first, second, third = house.put("send", *[(f"{n}@example.com",) for n in range(3)], queue="line")
    page = tab.open("/queue?name=line")
    tab.press(f"Run now {third}")
    tab.told(f"{third} is the next one of line")
    assert ids(house, address, "/queue.json?name=line") == [third, first, second]
    tab.press(f"Delete… {second}")
    expect(page.get_by_role("main")).to_contain_text(f"Delete {second} for good?")
    tab.press("Delete it")
    tab.told(f"Deleted {second}.")
    assert ids(house, address, "/queue.json?name=line") == [third, first]
    tab.row(first).get_by_role("link").first.click()
    expect(tab.heading(first)).to_be_visible()
    page.get_by_label("Queue to move it to").fill("siding")
    tab.press("Move")
    tab.told(f"{first} is now in siding")
    assert (ids(house, address, "/queue.json?name=line"), ids(house, address, "/queue.json?name=siding")) == ([third], [first])


def test_a_whole_queue_is_moved(tab: Tab, house: House, address: str) -> None:
    house.put("send", *[(f"{n}@example.com",) for n in range(3)], queue="from")
    page = tab.open("/queue?name=from")
    page.get_by_label("Queue to move its ready jobs to").fill("target")
    tab.press("Move all…")
    expect(tab.heading("Are you sure?")).to_be_visible()
    page.get_by_role("main").get_by_role("button").click()
    tab.told("3 jobs")
    assert (waiting(house, address, "from"), waiting(house, address, "target")) == (0, 3)


def test_a_jobs_arguments_are_hidden_until_asked_for(tab: Tab, house: House) -> None:
    (id,) = house.put("send", ("ann@example.com",), queue="private", password="tiger", subject="winter")
    page = tab.open("/queue?name=private")
    tab.row(id).get_by_role("link").first.click()
    main = page.get_by_role("main")
    page.get_by_text("Envelope").click()
    expect(main).to_contain_text("(hidden)")
    expect(main).not_to_contain_text("ann@example.com")
    page.get_by_role("link", name="Show the arguments").click()
    expect(main).to_contain_text("ann@example.com")
    expect(main).to_contain_text("winter")
    expect(main).not_to_contain_text("tiger")
    page.get_by_role("link", name="Hide the arguments").click()
    expect(main).not_to_contain_text("ann@example.com")


def test_scheduled_jobs_are_run_and_deleted_by_filter(tab: Tab, house: House, address: str) -> None:
    now = house.put("send", ("a",), ("b",), queue="sooner", delay=3600)
    house.put("send", ("c",), queue="never", delay=3600)
    page = tab.open("/scheduled")
    page.get_by_role("search").get_by_label("Queue").fill("sooner")
    page.get_by_role("search").get_by_role("button", name="Filter").click()
    expect(page).to_have_url(re.compile("queue=sooner"))  # the page before it has that button too
    tab.press("Run all of these now…")
    expect(page.get_by_role("main")).to_contain_text("Run 2 jobs that wait for their time (queue sooner)?")
    tab.press("Run them now")
    tab.told("To be run next: 2 jobs.")
    assert set(ids(house, address, "/queue.json?name=sooner")) == set(now)
    tab.open("/scheduled?queue=never")
    tab.press("Delete all of these…")
    tab.press("Delete them")
    tab.told("Deleted 1 job.")
    assert ids(house, address, "/scheduled.json?queue=never") == []


def test_a_job_that_waits_to_be_tried_again_is_run_now(tab: Tab, worked: House, address: str) -> None:
    (id,) = worked.put("patient", ("not yet",), queue="work")
    eventually(lambda: id in ids(worked, address, "/retries.json"), what="the retry")
    tab.open("/retries")
    expect(tab.row(id)).to_contain_text("OSError: not yet")
    tab.press(f"Run now {id}")
    tab.told(f"{id} is the next one of work")
    eventually(
        lambda: [one["attempts"] for one in worked.ask("/retries.json", address)["jobs"] if one["id"] == id] == [2],
        what="its second attempt",
    )


def test_a_schedule_is_run_paused_and_resumed(tab: Tab, house: House, address: str) -> None:
    tab.open("/cron")
    expect(tab.row("nightly")).to_contain_text("30 2 * * *")
    tab.press("Run now nightly")
    tab.told("of nightly (primary)")
    assert waiting(house, address, "mail") == 1
    tab.press("Pause nightly")
    expect(tab.row("nightly")).to_contain_text("paused")
    tab.press("Resume nightly")
    tab.told("nightly goes on with its next tick")
    expect(tab.row("nightly")).to_contain_text("on")


def test_all_queues_are_paused_after_a_question(tab: Tab, house: House, address: str) -> None:
    page = tab.open()
    tab.press("Pause all queues…")
    expect(page.get_by_role("main")).to_contain_text("Let no worker of any host take another job?")
    tab.press("Pause all queues")
    tab.told("All queues are paused")
    expect(page.get_by_role("main")).to_contain_text("no worker takes a job")
    tab.press("Resume all queues")
    tab.told("Workers take jobs again")
    expect(page.get_by_role("button", name="Pause all queues…")).to_be_visible()


def test_a_worker_is_made_quiet_resumed_and_stopped(tab: Tab, house: House, address: str) -> None:
    process = house.worker("--queues", "shift")
    (held,) = house.put("hold", ("shift-gate",), queue="shift")
    page = tab.open("/workers")
    row = page.get_by_role("row").filter(has_text=re.compile(rf":{process.pid}(?!\d)"))
    expect(row).to_contain_text("hold")
    expect(row.get_by_role("link", name="hold")).to_be_visible()
    row.get_by_role("button", name="Quiet").click()
    tab.told("is told to take no more jobs")  # that page, not the one before it
    with tab.standing():
        expect(row).to_contain_text("quiet")
        expect(row).not_to_contain_text("not heard yet")
    row.get_by_role("button", name="Resume").click()
    tab.told("is told to go on")
    with tab.standing():
        expect(row).to_contain_text("works")
    row.get_by_role("button", name="Stop").click()
    expect(tab.heading("Are you sure?")).to_be_visible()
    page.get_by_role("main").get_by_role("button").click()
    expect(tab.heading("Workers")).to_be_visible()
    tab.told("is told to finish what it runs and end")
    house.open_gate("shift-gate")
    eventually(lambda: process.poll() is not None, what="the worker's end")
    with tab.standing():
        expect(row).to_have_count(0)
    assert held in house.ran()


def test_the_doctor_looks(tab: Tab) -> None:
    page = tab.open("/doctor")
    expect(page.get_by_role("table", name="Settings")).to_contain_text("spool_min_free")
    with tab.standing():
        expect(page.get_by_role("link", name="All checks")).to_be_visible()
    tab.press("Look again")
    expect(page.get_by_role("main").get_by_role("status")).to_be_visible()
    page.get_by_role("link", name="All checks").click()
    expect(page.get_by_role("table", name="Findings")).to_contain_text("persistence")


def test_what_was_done_is_in_the_journal_with_who(tab: Tab, worked: House) -> None:
    eventually((worked.dir / "spool.db").exists, what="the spool, in which the journal is")
    worked.put("send", ("a",), queue="noted")
    page = tab.open("/queue?name=noted")
    tab.press("Pause")
    tab.told("noted is paused")  # or to open another page would take the order back
    tab.open("/events?kind=action")
    row = page.get_by_role("row").filter(has_text="noted is paused").first
    expect(row).to_contain_text("somebody at 127.0.0.1")


def test_the_pages_of_a_question_and_of_an_error_are_as_good(tabs: Callable[..., Tab], house: House) -> None:
    tab, axe = tabs(bypass_csp=True, color_scheme="dark"), Axe()
    house.put("send", ("a",), queue="asked")
    tab.open("/queue?name=asked")
    tab.press("Clear…")
    expect(tab.heading("Are you sure?")).to_be_visible()
    asked = axe.run(tab.page).response["violations"]
    with tab.refusing(404):
        tab.open("/nowhere")
    wrong = axe.run(tab.page).response["violations"]
    assert [one for one in asked + wrong if one["impact"] in ("serious", "critical")] == []
