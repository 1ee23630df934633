# The first target that needs it makes .venv; later ones start at once, until pyproject.toml or constraints.txt changes.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test lint format notebooks bench clean

help:  ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[dev]'
	touch $@

demo: $(STAMP)  ## phantoms, training, prediction, scores and a report, in minutes on a laptop
	$(BIN)/medseg demo

test: $(STAMP)  ## the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(STAMP)  ## ruff, ruff format --check and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## sort imports, mend what ruff can mend, and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

notebooks: $(STAMP)  ## the .ipynb of every notebook from its source
	$(BIN)/jupytext --quiet --to ipynb notebooks/*.py

bench: $(STAMP)  ## the benchmarks beside their peers, into benchmarks/RESULTS.md; hours (BENCH=--quick: ten minutes, printed)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -r benchmarks/requirements.txt
	$(BIN)/python benchmarks/run_all.py $(BENCH)

clean:  ## remove the environment and the caches (not runs/)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
