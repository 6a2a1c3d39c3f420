# Two commands do all the set-up: `make demo` runs the main job, `make test` passes the tests.
# Each makes the virtual environment that it needs; versions come from constraints.txt.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# Two files of tests at a time; those of Ray share one engine, so they run one after another.
PYTEST := $(BIN)/pytest -n 2 --dist loadfile
PIP    := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-all lint types imports ci clean

demo: $(VENV)/.core
	$(BIN)/recscale demo

test: $(VENV)/.dev
	$(PYTEST) -m "not slow and not alone"
	$(PYTEST) plugins/recscale-dask-spark/tests -m "not slow"
	$(BIN)/pytest plugins/recscale-dask-ray/tests -m "not slow"

test-all: $(VENV)/.dev
	$(PYTEST) -m "not alone"
	$(BIN)/pytest -m alone
	$(PYTEST) plugins/recscale-dask-spark/tests
	$(BIN)/pytest plugins/recscale-dask-ray/tests -m "not slow"

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy src plugins/recscale-dask-spark/src plugins/recscale-dask-ray/src

imports: $(VENV)/.dev
	$(BIN)/lint-imports

ci: lint types imports test-all

clean:
	rm -rf $(VENV) recscale-demo dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'recscale_dask needs Python 3.11 or later: make PYTHON=python3.12 ...')"
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable .
	touch $@

$(VENV)/.dev: pyproject.toml plugins/recscale-dask-spark/pyproject.toml plugins/recscale-dask-ray/pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable ".[dev]" --editable plugins/recscale-dask-spark --editable "plugins/recscale-dask-ray[client]"
	touch $(VENV)/.core $@
