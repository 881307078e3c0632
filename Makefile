# `make run` and `make test` set up everything they need; nothing else has to be installed by hand.
# Options of the gateway: make run ARGS="--port 0". Another Python: make run PYTHON=python3.12

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.core
DEV := $(VENV)/.dev
INSTALL := $(BIN)/pip install --quiet --constraint constraints.txt --editable

# Tests are rewritten and gateways compiled once, not in every process.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run setup test chaos nightly fuzz mutants lint docs bench clean

run: $(CORE)
	@exec $(BIN)/goclaw $(ARGS)

setup: $(DEV)

test: $(DEV)
	@sh .ci/install-browser.sh
	$(BIN)/pytest -n 2 --dist loadfile

# Gateways, their database and its disk die for a quarter of an hour, and a checker counts what is lost or doubled.
chaos: $(DEV)
	$(BIN)/pytest -s tests/durability/long_*.py tests/security/long_*.py

# The rules of the runtime with 10,000 examples each instead of 500.
nightly: $(DEV)
	$(BIN)/pytest tests/runtime --hypothesis-profile nightly

# Readers of vendors' answers under garbage that looks for their branches: make fuzz FUZZ_SECONDS=600
fuzz: export FUZZ_SECONDS ?= 60
fuzz: $(DEV)
	@$(INSTALL) '.[fuzz]'
	$(BIN)/python -m tests.fuzz.long_readers

# Which rule finds which planted bug, after how many examples.
mutants: $(DEV)
	$(BIN)/pytest tests/runtime/test_mutants.py -rP

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy goclaw
	$(BIN)/lint-imports

docs: $(DEV)
	$(BIN)/python -m docs.generate

bench: $(DEV)
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Installed again whenever what is to be installed changes.
$(CORE): pyproject.toml constraints.txt | $(BIN)/pip
	@echo "Installing GoClaw into $(VENV)"
	@$(INSTALL) .
	@touch $@

$(DEV): pyproject.toml constraints.txt | $(BIN)/pip
	@echo "Installing GoClaw and what its tests need into $(VENV)"
	@$(INSTALL) '.[dev]'
	@touch $@ $(CORE)

# Debian splits venv off its python3: install it when we may, else say what is missing.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "GoClaw needs Python 3.11 or newer: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || sh .ci/install-venv.sh $(PYTHON)
	@$(PYTHON) -m venv $(VENV)
