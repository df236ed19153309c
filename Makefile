# make lab       open the course in JupyterLab           make lab ARGS=--no-browser
# make test      everything that a change must pass      make test ARGS="tests/data -x"
# make lint      style, types, floors and spelling       make format
# make bench     the tables of benchmarks/               make bench ARGS=lessons
# make outputs   run the lessons and save their outputs  make outputs ARGS=notebooks/01_why_transfer.ipynb
# make exercises write exercises/ from solutions/
# make site      the course as pages, in docs/_build/html    make slides    as slides, in docs/_build/slides
# make frames    draw the explorers for the site, where their lessons have changed
# make mutation  small faults that the tests must notice make mutation ARGS="peft --sample 60 --seed 3"

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell command -v $(name))))
BIN := .venv/bin
ARGS ?=
PIP = $(BIN)/python -m pip install --disable-pip-version-check $(shell test -t 2 || echo --quiet) --editable

.PHONY: help lab test fetch lint format bench outputs exercises site slides frames mutation clean
.NOTPARALLEL:

help:
	@sed -n 's/^# make/  make/p' Makefile

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or later is needed; name one: make PYTHON=/path/to/python"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' || \
	  { echo "This Python cannot make environments; on Debian: apt install python3-venv"; exit 1; }
	@echo 'Installing into .venv: some minutes and 7 GB the first time'
	$(PYTHON) -m venv .venv

# Two levels in one environment: what a reader needs, and what a contributor needs on top of it.
.venv/notebooks.stamp: pyproject.toml | $(BIN)/python
	$(PIP) '.[notebooks]'
	@touch $@

.venv/dev.stamp: pyproject.toml | $(BIN)/python
	$(PIP) '.[dev]'
	@touch .venv/notebooks.stamp $@

lab: .venv/notebooks.stamp
	@$(BIN)/tlcourse lab $(ARGS)

fetch: .venv/notebooks.stamp
	@$(BIN)/tlcourse fetch

# Lint findings do not hide the tests' result: both run, and pytest has the last word.
test: .venv/dev.stamp
	@$(BIN)/tlcourse fetch
	@status=0; $(MAKE) --no-print-directory lint || status=1; \
	$(BIN)/python -m pytest -n 2 --durations=10 $(ARGS) || status=1; exit $$status

lint: .venv/dev.stamp
	@status=0; set -x; \
	$(BIN)/ruff check . || status=1; \
	$(BIN)/ruff format --check . || status=1; \
	$(BIN)/lint-imports || status=1; \
	$(BIN)/codespell || status=1; \
	$(BIN)/mypy || status=1; \
	exit $$status

format: .venv/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/dev.stamp
	@$(BIN)/python -m benchmarks $(ARGS)

outputs: .venv/dev.stamp
	@$(BIN)/python -m tlcourse.lesson.execute $(or $(ARGS),$(wildcard notebooks/*.ipynb)) --write

exercises: .venv/dev.stamp
	@$(BIN)/tlcourse exercises build

# Both use the committed outputs and run no lesson. To read them: python -m http.server --directory docs/_build/html
site slides: .venv/dev.stamp
	@$(BIN)/python docs/build.py $@

frames: .venv/dev.stamp
	@$(BIN)/python -m tlcourse.lesson.frames $(or $(ARGS),$(wildcard notebooks/*.ipynb)) --to docs/frames

mutation: .venv/dev.stamp
	@$(BIN)/python tests/mutation/run.py $(ARGS)

clean:
	rm -rf docs/_build .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
