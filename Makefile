VENV ?= .venv
export SPOOLQ_VENV = $(VENV)

.PHONY: test lint format demo bench clean

test: ## format check, lint, types and every test, in an environment of its own
	scripts/test $(ARGS)

lint: $(VENV)/bin/ruff
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

format: $(VENV)/bin/ruff
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

demo: $(VENV)/bin/spoolq ## the whole story in a minute
	$(VENV)/bin/spoolq demo

bench: $(VENV)/bin/ruff
	$(VENV)/bin/python -m benchmarks quick

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/ruff:
	python3 -m venv $(VENV) && $(VENV)/bin/pip install -q -e '.[dev]'

$(VENV)/bin/spoolq:
	python3 -m venv $(VENV) && $(VENV)/bin/pip install -q '.[all]'
