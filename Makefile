# `make demo` or `make test` on a fresh Debian or Ubuntu machine sets everything up in .venv first.
#   PYTHON=python3.12      the Python to build .venv with (3.10 to 3.14)
#   PIP_ARGS="..."         more options for pip, for instance --index-url
#   JOBS=4                 test processes (default 3: many tests wait for processes of their own)
#   PYTEST_ARGS="..."      more options for pytest, for instance "-k setup"
#   CAMPAIGN_ARGS="..."    other sizes of the campaign, for instance "--files 200 --kills 10"

BIN := .venv/bin
JOBS ?= 3
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist worksteal
# Many tests stop, kill and race real processes: what fails is run once more by itself.
AGAIN := echo "What failed is run once more by itself. If it passes now, it depends on timing: a bug too." && \
	DTQL_REQUIRE_EXTRAS="$$(cat .venv/extras)" $(BIN)/python -m pytest --last-failed --last-failed-no-failures none
export PYTHON PIP_ARGS

.DEFAULT_GOAL := help
.PHONY: help setup extras demo check test campaign lint docs clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' Makefile

setup: .venv/.setup-done ## Create .venv with everything in it (instant when nothing changed)

extras: .venv/extras ## Add every optional package that can be built here

demo: setup ## The whole way in minutes: demonstrations, training, evaluation, video, in runs/demo
	$(BIN)/dtql-robot demo --out runs/demo

check: lint ## Before every commit: lint, types and the fast tests, in under two minutes
	$(PYTEST) -m "not slow" $(PYTEST_ARGS)

test: lint extras ## Everything: lint, types and all tests, with every optional package
	DTQL_REQUIRE_EXTRAS="$$(cat .venv/extras)" $(PYTEST) $(PYTEST_ARGS) || { [ $$? = 1 ] && $(AGAIN) $(PYTEST_ARGS); }

campaign: setup ## Damaged files, kills, full disks, failing simulators, hostile folders: a table, in under 20 minutes
	$(BIN)/python benchmarks/campaign --seed 0 $(CAMPAIGN_ARGS)

lint: setup ## ruff check, ruff format --check, mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: setup .venv/.docs-done ## Build the documentation in site/ (Python 3.11 or newer); a broken link is an error
	$(BIN)/zensical build --strict --clean

clean: ## Remove .venv, caches and build leftovers; runs/ stays
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist site ./*.egg-info

.venv/.setup-done: pyproject.toml constraints.txt
	@scripts/setup.sh
	@touch $@

.venv/extras: .venv/.setup-done
	@scripts/setup.sh extras

.venv/.docs-done: .venv/.setup-done
	@scripts/setup.sh docs
	@touch $@
