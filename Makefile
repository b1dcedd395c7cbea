# Every task of the project; `make help` lists them.

PYTHON ?= python3
UV_VERSION := 0.13.9
BIN := .venv/bin
UV = "$$(cat .uv/path)"
export UV_PYTHON_DOWNLOADS := never
# Where it is set, each of the many processes compiles its modules again, for up to 1.5 s of CPU.
unexport PYTHONDONTWRITEBYTECODE
SERVERS ?=

.DEFAULT_GOAL := help
.PHONY: pictures help install demo up down status clean test test-stacks test-unit test-newest takeover cluster exhaustive containers spark spark-test chaos bench lint docs format lock

help: ## Show this list
	@echo "mastodon_pipeline measures what is posted on the Fediverse. Start with: make demo"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "Every port and path can be set; see docs/operations.md."

install: .venv/.installed ## Install the Python packages into .venv, from requirements.lock

demo: install ## Run everything with simulated servers, and compare the counts with what they published
	@$(BIN)/python -m infra.demo

up: install ## Start stack and Dagster for real servers: make up SERVERS=mastodon.social,fosstodon.org
	@MASTODON_SERVERS="$(or $(SERVERS),$(MASTODON_SERVERS))" $(BIN)/python -m infra.native_stack up --with-dagster

down: install ## Stop everything that demo or up started; the data stays
	@$(BIN)/python -m infra.native_stack down

status: install ## Show what runs, and where its logs and credentials are
	@$(BIN)/python -m infra.native_stack status

clean: install ## Stop everything and delete its data (downloads stay)
	@$(BIN)/python -m infra.native_stack clean

# More workers than cores: integration tests wait most of the time. A stack takes more than a gigabyte.
test: WORKERS ?= 6
test-stacks: WORKERS ?= 5
APART := not takeover and not cluster and not exhaustive and not containers and not spark
test: install ## Run the tests that need no stack or share one, several at a time
	@$(BIN)/python -m infra.native_stack fetch
	@$(BIN)/pytest -m "not own_stack and $(APART)" -n $(WORKERS) --dist loadscope

test-stacks: install ## Run the tests that start stacks of their own: they damage, fill or wipe them, are the demo, or the containers
	@$(BIN)/python -m infra.native_stack fetch
	@$(BIN)/pytest -m "own_stack and $(APART)" -n $(WORKERS) --dist loadscope

# Three workers on two cores: some tests wait, and each worker imports everything.
QUICK := -m "not integration and not thorough" --hypothesis-profile=quick -n 3 --dist loadscope
test-unit: install ## Run the quick tests, which need no stack (20 s)
	@$(BIN)/pytest $(QUICK)

test-newest: .venv-newest/.installed ## Run the quick tests on the newest Python that is supported
	@.venv-newest/bin/pytest $(QUICK)

takeover: install ## Test who listens when, on one machine under load and on three hosts (7 min)
	@$(BIN)/python -m infra.native_stack fetch
	@$(BIN)/pytest -m takeover

cluster: install ## Kill one of three brokers and one of two Connect workers under load (5 min; needs PostgreSQL)
	@$(BIN)/python -m infra.native_stack fetch
	@$(BIN)/pytest -s -m cluster

exhaustive: install ## Draw many more random failures and inputs than `make test` does (3 min)
	@$(BIN)/pytest -m exhaustive
	@FUZZ_MINUTES=1 $(BIN)/pytest mastodon_pipeline_tests/listening/fuzzing

containers: install ## Build the image, run everything in containers, kill them, compare (Podman as root, or Docker)
	@$(BIN)/python -m mastodon_pipeline_tests.containers

spark: .venv-spark/.installed ## Install Spark into .venv-spark (0.5 GB; docs/operations.md, "Other engines")

spark-test: install spark ## Let Spark count the lake again, and compare every row (3 min; needs Java 17 or 21)
	@$(BIN)/python -m infra.native_stack fetch
	@$(BIN)/pytest -m spark

SEED ?= 1
MINUTES ?= 10
chaos: install ## Damage a running pipeline at random, and compare its tables: make chaos SEED=7 MINUTES=10
	@$(BIN)/python -m infra.native_stack fetch
	@$(BIN)/python -m mastodon_pipeline_tests.chaos --seed $(SEED) --minutes $(MINUTES)

BENCHMARKS ?= commands listening many_streams usage_layout usage_growth usage_busy_day usage_hour_size landed_files backfill freshness at_rest dashboard demo dagster_growth sustained
bench: install ## Measure speed beside a baseline; a single benchmark: make bench BENCHMARKS=listening
	@$(BIN)/python -m infra.native_stack fetch
	@set -e; for name in $(BENCHMARKS); do echo "benchmarks/$$name.py"; $(BIN)/python -m benchmarks.$$name; done

# A pinned package without a wheel would need a compiler. watchdog has none for Python 3.14 on a Mac.
PLATFORMS := x86_64-manylinux_2_28 aarch64-manylinux_2_28 aarch64-apple-darwin
lint: install ## Check format, lint, types, imports, spelling, the data dictionary, and wheels for each platform
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/codespell
	@$(BIN)/python -m mastodon_pipeline.usage.tables.dictionary --check
	@for platform in $(PLATFORMS); do for version in 3.11 3.14; do \
	  $(UV) pip compile -q --python-platform $$platform --python-version $$version --no-header --only-binary :all: \
	  --no-binary watchdog requirements.lock >/dev/null || { echo "no wheels for $$platform, Python $$version" >&2; exit 1; }; \
	done; done

docs: install ## Write docs/data-dictionary.md again, from the schema and the tables' declarations
	@$(BIN)/python -m mastodon_pipeline.usage.tables.dictionary

pictures: install ## Make the README's pictures again, from a demo that runs
	@$(BIN)/python -m infra.pictures

format: install ## Format, and fix what ruff can fix
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: .uv/path ## Update requirements.lock from pyproject.toml; existing pins stay (all newer: rm it first)
	@$(UV) pip compile --universal --generate-hashes --python-version 3.11 --no-annotate --no-header -q \
	  pyproject.toml --group dev --group stack --group dashboard -o requirements.lock

.venv/.installed: requirements.lock pyproject.toml | .uv/path
	@echo "Installing Python packages into .venv (about 1 GB with Java and Go; a minute or so the first time)"
	@test -x $(BIN)/python || $(UV) venv --quiet --python "$(PYTHON)" .venv
	@$(UV) pip install --python $(BIN)/python --require-hashes -r requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

.venv-newest/.installed: requirements.lock pyproject.toml | .venv/.installed
	@newest="$$($(BIN)/python -m infra.newest_python)" && rm -rf .venv-newest && $(UV) venv --quiet --python "$$newest" .venv-newest
	@$(UV) pip install --quiet --python .venv-newest/bin/python --require-hashes -r requirements.lock
	@$(UV) pip install --quiet --python .venv-newest/bin/python --no-deps --no-build-isolation -e .
	@touch $@

.venv-spark/.installed: pyproject.toml | .uv/path
	@rm -rf .venv-spark && $(UV) venv --quiet --python "$(PYTHON)" .venv-spark
	@$(UV) pip install --python .venv-spark/bin/python --group spark
	@touch $@

# uv: from PATH, else from PyPI into a venv, else (Debian without python3-venv) by pip alone.
.uv/path:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $(PYTHON) is missing or older than 3.11; name another: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@mkdir -p .uv
	@if command -v uv > $@.new; then :; \
	elif $(PYTHON) -m venv --clear .uv/venv >/dev/null 2>&1; then .uv/venv/bin/pip install -q uv==$(UV_VERSION) && echo "$(CURDIR)/.uv/venv/bin/uv" > $@.new; \
	elif $(PYTHON) -c 'import pip' 2>/dev/null; then $(PYTHON) -m pip install -q --target .uv/site uv==$(UV_VERSION) && echo "$(CURDIR)/.uv/site/bin/uv" > $@.new; \
	else echo "make: $(PYTHON) has neither venv nor pip: install them (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; \
	fi || { echo "make: could not get uv from PyPI; is the network up?" >&2; exit 1; }
	@mv $@.new $@
