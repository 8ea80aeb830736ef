# Two commands: `make run` starts streamd, `make test` checks it. Both install what they need into .venv, without root.

PYTHON ?= python3
BIN := .venv/bin
FILES := benchmarks/data/clean.flac
FRESH := .venv-export/gemma
CODE := $(wildcard streamd tests benchmarks packaging)

.DEFAULT_GOAL := help
.PHONY: help run install dev weights test test-export lint format types unit bench load clean

help:  ## This list
	@sed -n 's/^\([a-z-]*\):.*##/\1\t/p' $(MAKEFILE_LIST) | expand -t 13

run: install  ## Start the daemon: http://127.0.0.1:8765/ (make run ARGS="--source FILE")
	@$(BIN)/streamd models pull
	@exec $(BIN)/streamd run $(ARGS)

install:  ## Make .venv with what running needs
	@$(PYTHON) packaging/bootstrap.py

dev:  ## Make .venv with what tests and checks need, too
	@$(PYTHON) packaging/bootstrap.py --dev

test: dev weights  ## All checks and all tests
	@$(MAKE) --no-print-directory --keep-going lint types unit

lint: dev  ## Style
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)

types: dev
	$(BIN)/mypy $(CODE)

unit: dev
	$(BIN)/python -m pytest --cov --cov-report=term $(ARGS)
	@$(BIN)/coverage report --include='streamd/core/*' --fail-under=100 --show-missing >.core-coverage || \
		{ cat .core-coverage; echo "streamd/core must be covered whole"; exit 1; }

test-export:  ## Gemma's export, afresh with PyTorch in .venv-export
	@$(PYTHON) packaging/bootstrap.py --dev --extra export --venv .venv-export
	@rm -rf $(FRESH)
	.venv-export/bin/python -m tests.gemma_reference $(FRESH) --seed 1
	STREAMD_TEST_GEMMA=$(FRESH) .venv-export/bin/python -m pytest tests/export tests/test_engines_gemma_export.py tests/test_engines_gemma_features.py $(ARGS)

weights: dev
	@test -n "$$STREAMD_TEST_MODELS" || $(BIN)/streamd models pull tiny.en base

bench: dev weights  ## How early, steady, right and cheap captions are here (FILES=…, ARGS=…)
	$(BIN)/streamd bench $(FILES) $(or $(ARGS),--sessions 1,2,4,8)

load: dev weights  ## How many rooms at once this machine holds in real time
	$(BIN)/python -m benchmarks $(ARGS)

format: dev
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

clean:  ## Remove .venv and what tools left
	rm -rf .venv .venv-export .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache dist build
	find $(CODE) -name __pycache__ -prune -exec rm -rf {} +
