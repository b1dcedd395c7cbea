# Every task of the project; `make help` lists them.

PYTHON ?= python3
UV_VERSION := 0.13.9
BIN := .venv/bin
export UV_PYTHON_DOWNLOADS := never
SERVERS ?=

.DEFAULT_GOAL := help
.PHONY: help install demo up down status logs clean test test-unit chaos bench lint format lock

help: ## This list
	@echo "mastodon_pipeline counts what happens on the Fediverse. Start with: make demo"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "Every port and path can be set; see 'Settings' in README.md."

install: .venv/.installed ## Python packages into .venv, from requirements.lock (make demo and make test do it too)

demo: install ## From nothing to counted toots: stack, Dagster, a simulated Fediverse, and a comparison with the truth
	@$(BIN)/python -m infra.demo

up: install ## Start stack and Dagster for real servers: make up SERVERS=mastodon.social,fosstodon.org
	@MASTODON_SERVERS="$(or $(SERVERS),$(MASTODON_SERVERS))" $(BIN)/python -m infra.native_stack up --with-dagster

down: install ## Stop everything that demo or up started; the data stays
	@$(BIN)/python -m infra.native_stack down

status: install ## What runs, where its logs are, and where the credentials are
	@$(BIN)/python -m infra.native_stack status

clean: install ## Stop everything and wipe its data (downloads stay)
	@$(BIN)/python -m infra.native_stack clean

test: install ## All tests, against a real stack of their own
	@$(BIN)/python -m infra.native_stack fetch
	@$(BIN)/pytest -m "not integration" -n 4
	@$(BIN)/pytest -m "integration and not chaos"

test-unit: install ## The quick tests, which need no stack
	@$(BIN)/pytest -m "not integration and not thorough" -n 3

chaos: install ## Kill everything in turn, while toots come, and count what is left
	@$(BIN)/python -m infra.native_stack fetch
	@$(BIN)/pytest mastodon_pipeline_tests/chaos -m chaos -s

BENCHMARKS ?= listening many_streams usage_layout usage_growth usage_busy_day landed_files backfill freshness
bench: install ## Speed, measured against its baseline in the same run; one of them: make bench BENCHMARKS=listening
	@$(BIN)/python -m infra.native_stack fetch
	@set -e; for one in $(BENCHMARKS); do echo "benchmarks/$$one.py"; $(BIN)/python -m benchmarks.$$one; done

lint: install ## Format check, lint, types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: install ## Format and mend what can be mended
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: .uv/path ## Compile requirements.lock anew from pyproject.toml
	@"$$(cat .uv/path)" pip compile --universal --generate-hashes --python-version 3.11 --no-annotate --no-header -q \
	  pyproject.toml --group dev --group stack -o requirements.lock

.venv/.installed: requirements.lock pyproject.toml | .uv/path
	@echo "Installing Python packages into .venv (about 1 GB with Java and Go; a minute or so the first time)"
	@test -x $(BIN)/python || "$$(cat .uv/path)" venv --quiet --python "$(PYTHON)" .venv
	@"$$(cat .uv/path)" pip install --python $(BIN)/python --require-hashes -r requirements.lock
	@"$$(cat .uv/path)" pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

# uv from PATH where it is, else from PyPI: into a venv of its own, or beside it where Debian's python3-venv is missing.
.uv/path:
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) not found; install Python 3.11 or newer, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $(PYTHON) is $$($(PYTHON) -V); Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@mkdir -p .uv
	@if command -v uv >/dev/null; then command -v uv > $@; \
	elif $(PYTHON) -m venv --clear .uv/venv >/dev/null 2>&1 && .uv/venv/bin/pip install -q uv==$(UV_VERSION); then echo "$(CURDIR)/.uv/venv/bin/uv" > $@; \
	elif $(PYTHON) -m pip install -q --target .uv/site uv==$(UV_VERSION); then echo "$(CURDIR)/.uv/site/bin/uv" > $@; \
	else echo "make: could not get uv from PyPI; is the network up, and python3-venv installed (apt install python3-venv)?" >&2; exit 1; fi
