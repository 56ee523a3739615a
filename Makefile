# Each target does all its own set-up; the second run finds it done.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-compose setup clean

demo: setup
	@$(BIN)/anchorcam demo $(ARGS)

test: setup
	@$(BIN)/anchorcam setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest $(ARGS)

test-compose: setup
	@$(BIN)/python -m tests.compose

setup:
	@$(PYTHON) host_tools/bootstrap.py

clean:
	rm -rf .venv data build .mypy_cache .pytest_cache .ruff_cache *.egg-info
