# MOON Search. `make` lists the targets; `make demo` is all that a fresh machine needs.

PYTHON ?= python3

VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/pip install --timeout 180 --retries 10 $(if $(CI),--quiet) --constraint constraints.txt
PACKAGES := pyproject.toml constraints.txt
TEST_TOOLS := chromium docker-compose

.DEFAULT_GOAL := help
.PHONY: help demo test lint format clean test-tools

help: ## list the targets
	@awk -F ': .*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/installed ## index the demo catalog and serve it on http://127.0.0.1:7860
	@$(BIN)/indexer rebuild demo/catalog.parquet
	@$(BIN)/app serve

test: $(VENV)/installed-dev test-tools ## run all tests, a file per core
	@OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile

lint: $(VENV)/installed-dev ## check style (ruff) and types (mypy)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

format: $(VENV)/installed-dev ## format the code and fix what ruff can fix
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

clean: ## remove the virtual environment and caches; the index in .moon stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "MOON Search needs Python 3.11 or newer, and '$(PYTHON)' is not. Name another one: make demo PYTHON=python3.12"; \
	  exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/installed: $(PACKAGES) | $(BIN)/pip
	@echo "Installing MOON Search and its libraries into $(VENV); the first time takes some minutes."
	@$(INSTALL) --editable '.[cpu]'
	@touch $@

$(VENV)/installed-dev: $(PACKAGES) | $(BIN)/pip
	@echo "Installing MOON Search with its training and test libraries into $(VENV); the first time takes some minutes."
	@$(INSTALL) --editable '.[cpu,dev,ray,train]'
	@touch $(VENV)/installed $@

test-tools:
	@missing=; for tool in $(TEST_TOOLS); do command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	test -n "$$missing" || exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "Installing$$missing for the tests."; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends $$missing >/dev/null \
	    || echo "apt-get could not install$$missing; tests that need them cannot run."; \
	else \
	  echo "Not installed:$$missing. Tests that need them are skipped; on Debian or Ubuntu: sudo apt-get install$$missing"; \
	fi
