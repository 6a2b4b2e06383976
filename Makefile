PYTHON ?= python3
# A version of Prefect, such as 3.8.8, in place of the one in constraints.txt.
PREFECT ?=
SUITE ?= all
MINUTES ?= 60
WORKERS ?= 3

# One environment for each interpreter and each Prefect: `make test PYTHON=python3.12` leaves the default one alone.
VENV := .venv$(if $(filter-out python3,$(PYTHON)),-$(notdir $(PYTHON)))$(if $(PREFECT),-prefect-$(PREFECT))
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help setup demo test check docs wheel soak bench constraints

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 13
	@echo
	@echo 'PYTHON=python3.12 and PREFECT=3.8.8 choose an interpreter and a version of Prefect, for every target.'

setup: $(READY)  ## create the virtual environment, again when pyproject.toml or constraints.txt change

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear $(VENV)
	@# Another Prefect brings other versions of what it needs: only the rest stays pinned.
	$(if $(PREFECT),sed '/^# Prefect$$/q',cat) constraints.txt > $(VENV)/constraints.txt
	$(PIP) install --constraint $(VENV)/constraints.txt --editable '.[dev]' $(if $(PREFECT),prefect==$(PREFECT))
	@touch $@

demo: $(READY)  ## describe the sample media and write a typed brief (emulator, or FoxAPI with FOXAPI_API_KEY)
	@# Without Prefect's telemetry; and Prefect's server starts slowly the first time.
	PREFECT_SERVER_ANALYTICS_ENABLED=false PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS=180 \
	$(BIN)/python flows/media_brief.py

test: $(READY)  ## run the tests, in at most 8 minutes on 2 cores
	@# Many tests wait for other processes: one worker more than there are cores. A file stays in one worker.
	$(BIN)/python -m pytest --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder

check: $(READY)  ## check format, lint, types, import contracts and layout
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_layout.py

wheel: $(READY)  ## build a wheel, install it alone, and make a generation with it
	rm -rf dist
	$(PIP) wheel --no-deps --wheel-dir dist .
	$(BIN)/python .ci/try_wheel.py dist/*.whl

soak: $(READY)  ## run the long harnesses: SUITE=kills,faults,streams,… (default all), MINUTES for each (default 60)
	$(BIN)/python -m tests.soak --minutes $(MINUTES) $(if $(filter-out all,$(SUITE)),$(SUITE))

docs: $(VENV)/.docs-ready  ## build the documentation into site/
	@# Material warns of the next major version of MkDocs, which is not installed here.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

$(VENV)/.docs-ready: $(READY)
	$(PIP) install --constraint $(VENV)/constraints.txt --editable '.[docs]'
	@touch $@

bench: $(READY)  ## print the benchmarks, each figure beside its baseline
	$(BIN)/python -m tests.benchmarks

constraints:  ## pin anew, in constraints.txt, what pyproject.toml asks for
	$(PYTHON) -m venv --clear .venv-unpinned
	.venv-unpinned/bin/python -m pip install --quiet packaging --editable '.[dev,docs]'
	.venv-unpinned/bin/python .ci/constraints.py > constraints.txt
	rm -rf .venv-unpinned
