# One word for each thing that a contributor does. All of it runs in .venv, which is made when it is missing.
BIN := .venv/bin

.PHONY: check test test-fast test-clients test-live test-matrix test-pins test-reference demo bench docs

check: .venv  ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: .venv  ## all tests
	$(BIN)/pytest

test-fast: .venv  ## the tests that need neither a server nor another process
	$(BIN)/pytest -m unit

test-live: .venv  ## ask a real project what is not settled; see docs/open-questions.md
	$(BIN)/python -m tests.live

test-clients: .venv  ## all the clients of others, polars among them, and the provider common-ai
	$(BIN)/pip install -q -e ".[clients]"
	$(BIN)/pytest tests/clients tests/common_ai

test-matrix: .venv  ## the unit tests on each release of Airflow, each Python, newest and lowest dependencies (long)
	$(BIN)/pip install -q uv
	$(BIN)/python -m tests.matrix

test-pins: .venv  ## whether the wheel moves a pin beside Airflow and the Google provider (8 minutes)
	$(BIN)/python -m tests.pins

test-reference: .venv  ## results on Google's reference evaluator (6 minutes); its analyzer on all combinations (long)
	$(BIN)/python -m tests.googlesql.on_evaluator
	$(BIN)/pytest tests/googlesql/all_shapes.py

demo: .venv  ## a pipeline on the local servers
	$(BIN)/gemini-batch demo

docs: .venv  ## the pages in docs/ as HTML, in build/docs; a warning is an error
	$(BIN)/pip install -q -e ".[docs]"
	$(BIN)/python -m sphinx -E -b html -W --keep-going -q docs build/docs

bench: .venv  ## what importing and waiting cost, and how fast rows pass through
	$(BIN)/python tests/benchmarks/imports.py --json
	$(BIN)/python tests/benchmarks/waiting.py --jobs 1000 --seconds 20 --json
	$(BIN)/python tests/benchmarks/rows.py --rows 100000 --json
	$(BIN)/python tests/benchmarks/rows.py --engine bigquery --rows 2000 --json

.venv:
	python3 -m venv $@ && $(BIN)/pip install -q -e ".[dev]" || { rm -rf $@; exit 1; }
