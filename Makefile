# Everything runs in .venv, created with Python 3.11 and constraints.txt. CI runs the same targets.

BIN := .venv/bin
IS_311 := import sys; sys.exit(sys.version_info[:2] != (3, 11))
PYTHON ?= $(shell for python in python3.11 python3 python; do \
	$$python -c '$(IS_311)' 2>/dev/null && echo $$python && break; done)
# pip says what it downloads: the first run takes a minute or more.
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

# Two processes, each with its own servers; a file's tests stay together and share what they start.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: help install up demo test test-fast coverage check mutants format docs hooks bench migrate clean

help:
	@echo 'make demo      start a stack, train the sample job and verify its adapter'
	@echo 'make up        start only the stack, until Ctrl-C'
	@echo 'make test      run the whole test suite'
	@echo 'make test-fast run what takes a minute: no trainer, no stack, nothing slow'
	@echo 'make coverage  run the whole test suite and measure branch coverage, as CI does'
	@echo 'make check     run ruff, mypy and import-linter, check the generated pages'
	@echo 'make mutants   plant faults in a copy of the code, check that the tests catch them'
	@echo 'make format    apply ruff fixes and formatting'
	@echo 'make docs      write the generated pages'
	@echo 'make hooks     run make check before each commit'
	@echo 'make bench     run the benchmarks, each against a naive implementation'
	@echo 'make migrate   migrate the database of TUNESMITH_DATABASE_URL'
	@echo 'make install   create .venv with everything'
	@echo 'make clean     remove .venv and caches; data folders stay'

install: .venv/.all

up: .venv/.worker
	@$(BIN)/tunesmith up

demo: .venv/.worker
	@$(BIN)/tunesmith demo

test: .venv/.all
	$(PYTEST)

test-fast: .venv/.all
	$(PYTEST) -q -m 'not trainer and not slow'

coverage: .venv/.all
	$(PYTEST) --cov --cov-report=term

check: .venv/.all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m app.cli.reference --check

# NAMES='claim-* lease-*': some of them; NAMES=--list: their names; NAMES=--write: the page as well.
mutants: .venv/.all
	$(BIN)/python -m tests.mutants $(NAMES)

format: .venv/.all
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/.all
	$(BIN)/python -m app.cli.reference

hooks: .venv/.all
	$(BIN)/pre-commit install

bench: .venv/.all
	$(BIN)/python -m bench

migrate: .venv/.worker
	$(BIN)/python -m app.core.db.migrate

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(BIN)/python:
	@test -n '$(PYTHON)' || { echo 'Tunesmith needs Python 3.11, but there is no python3.11, and python3 is' \
		"$$(python3 --version 2>&1). Install it, or pass its path: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

.venv/.worker: pyproject.toml constraints.txt app/__init__.py | $(BIN)/python
	@echo 'Installing the server and the training packages into .venv (a minute or two)'
	$(PIP_INSTALL) -e '.[worker]'
	@touch $@
	@echo 'Installed. To have the command tunesmith on your PATH: source .venv/bin/activate'

.venv/.all: pyproject.toml constraints.txt app/__init__.py | $(BIN)/python
	@echo 'Installing everything into .venv (a minute or two)'
	$(PIP_INSTALL) -e '.[worker,test,dev]'
	@touch .venv/.worker $@
	@echo 'Installed. To have the command tunesmith on your PATH: source .venv/bin/activate'
