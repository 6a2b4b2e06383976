PYTHON ?= python3
# One environment per interpreter, so that `make test PYTHON=python3.12` leaves the usual one alone.
VENV := .venv$(if $(filter-out python3,$(PYTHON)),-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test check docs bench

help:  ## say what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

setup: $(READY)  ## make the virtual environment, anew when pyproject.toml changes

$(READY): pyproject.toml
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(READY)  ## describe the sample media and write a typed brief (emulator, or FoxAPI with FOXAPI_API_KEY)
	@# Prefect reports its use to its makers, and complains where it cannot; and its server starts slowly the first time.
	PREFECT_SERVER_ANALYTICS_ENABLED=false PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS=180 \
	$(BIN)/python flows/media_brief.py

test: $(READY)  ## run the tests
	@# A file stays in one process, and each process has its own servers, so that more than a few are no gain.
	$(BIN)/python -m pytest --numprocesses=logical --maxprocesses=4 --dist=loadfile --no-loadscope-reorder

check: $(READY)  ## lint, types and layout rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python -m pytest -q tests/test_layout.py

docs: $(VENV)/.docs-ready  ## build the documentation into site/
	@# Material warns of the next major version of MkDocs, which is not installed here.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

$(VENV)/.docs-ready: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@

bench: $(READY)  ## print the benchmarks, each figure beside its baseline
	$(BIN)/python -m tests.benchmarks
