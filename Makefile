# Everything runs in .venv, made from Python 3.11 and constraints.txt. CI runs these same targets.

BIN := .venv/bin
IS_311 := import sys; sys.exit(sys.version_info[:2] != (3, 11))
PYTHON ?= $(shell for python in python3.11 python3 python; do \
	$$python -c '$(IS_311)' 2>/dev/null && echo $$python && break; done)
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -qq -c constraints.txt

# Two processes, each with its own servers; a file's tests stay together and share what they start.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile

.PHONY: help install up demo test test-fast coverage check format docs hooks bench migrate clean

help:
	@echo 'make demo      train the sample job, from nothing to a proven adapter'
	@echo 'make up        the stack alone, until Ctrl-C'
	@echo 'make test      the whole suite'
	@echo 'make test-fast what runs in a minute: no trainer, no stack, nothing slow'
	@echo 'make coverage  the whole suite, and which branches it took; CI runs this'
	@echo 'make check     ruff, mypy, import-linter, generated pages'
	@echo 'make format    let ruff format'
	@echo 'make docs      write the generated pages'
	@echo 'make hooks     run make check before each commit'
	@echo 'make bench     benchmarks against the plain way of doing it'
	@echo 'make migrate   bring the database of TUNESMITH_DATABASE_URL up to date'
	@echo 'make install   .venv with everything'
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
	@test -n '$(PYTHON)' || { echo 'Tunesmith needs Python 3.11: no python3.11 here, and python3 is' \
		"$$(python3 --version 2>&1). Install it, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

.venv/.worker: pyproject.toml constraints.txt app/__init__.py | $(BIN)/python
	@echo 'Installing the server and the training packages into .venv (a minute or two)'
	@$(PIP_INSTALL) -e '.[worker]'
	@touch $@

.venv/.all: pyproject.toml constraints.txt app/__init__.py | $(BIN)/python
	@echo 'Installing everything into .venv (a minute or two)'
	@$(PIP_INSTALL) -e '.[worker,test,dev]'
	@touch .venv/.worker $@
