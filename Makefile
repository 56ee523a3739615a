# Each target does all its own set-up; the second run finds it done.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-compose faults bench picture setup clean

demo: setup
	@$(BIN)/anchorcam demo $(ARGS)

test: setup
	@$(BIN)/anchorcam setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest $(ARGS)

faults: setup
	@$(BIN)/anchorcam setup
	@$(BIN)/python -m tests.faults $(if $(SEED),--seed $(SEED)) $(if $(N),--faults $(N)) $(ARGS)

# The page's picture in the README, taken anew.
picture: setup
	ANCHORCAM_PICTURE=docs/watch.png $(BIN)/pytest -n 0 tests/watch/test_page.py -k readme

bench: setup
	@$(BIN)/anchorcam setup
	@$(BIN)/python -m tests.bench $(ARGS)

test-compose: setup
	@$(BIN)/python -m tests.compose

setup:
	@$(PYTHON) host_tools/bootstrap.py

clean:
	rm -rf .venv data build .mypy_cache .pytest_cache .ruff_cache *.egg-info
