# `make demo` or `make test` on a fresh Debian or Ubuntu machine sets everything up in .venv first.
#   PYTHON=python3.12      the Python to build .venv with (3.10 to 3.14)
#   PIP_ARGS="..."         more options for pip, for instance --index-url
#   PYTEST_ARGS="..."      more options for pytest, for instance "-k setup" or "-n 2"

BIN := .venv/bin
export PYTHON PIP_ARGS

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-6s %s\n", $$1, $$2}' Makefile

setup: .venv/.setup-done ## Create .venv with everything in it (instant when nothing changed)

demo: setup ## The whole way in minutes: demonstrations, training, evaluation, video, in runs/demo
	$(BIN)/dtql-robot demo --out runs/demo

test: lint .venv/.robomimic-done ## Lint, then all tests
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: setup ## ruff check, ruff format --check, mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean: ## Remove .venv, caches and build leftovers; runs/ stays
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist ./*.egg-info

.venv/.setup-done: pyproject.toml constraints.txt
	@scripts/setup.sh
	@touch $@

# Left undone where robomimic cannot be built; its tests are then skipped.
.venv/.robomimic-done: .venv/.setup-done
	@scripts/setup.sh robomimic && touch $@ || true
