# Each target sets up what it needs in .venv: nothing but Python >= 3.11 (with venv) and make is asked for.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ONLY ?=

.PHONY: demo test check acceptance bench faults docs clean
.DEFAULT_GOAL := test

$(STAMP): requirements.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found; set PYTHON=..." >&2; exit 7; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python >= 3.11 is needed; set PYTHON=..." >&2; exit 7; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP)
	$(BIN)/python workflows/demo.py

# Compiled once, for the hundreds of processes that tests start; slow files come first (tests/conftest.py).
test: $(STAMP)
	@$(BIN)/python -m compileall -q src/prestow
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

check: $(STAMP)
	$(BIN)/ruff check src tests benchmarks workflows
	$(BIN)/ruff format --check --quiet src tests benchmarks workflows
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell src tests docs workflows benchmarks README.md CHANGELOG.md

acceptance: $(STAMP)
	$(BIN)/python workflows/acceptance.py

bench: $(STAMP)
	@$(BIN)/python benchmarks $(ONLY)

faults: $(STAMP)
	PRESTOW_FAULTS=full $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder tests/faults tests/property

docs: $(STAMP)
	$(BIN)/python docs/run_commands.py
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs
	@echo "the pages are in build/docs/index.html"

clean:
	rm -rf $(VENV) demo build dist
