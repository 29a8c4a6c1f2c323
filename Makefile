# One word per task. `make` lists them.
PYTHON ?= python
PROCESSES ?= 2

# Each process that a test starts would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup run demo test fast lint exhaustive types docs bench coverage

help:
	@sed -n 's/^\([a-z]*\): *## \(.*\)/make \1	\2/p' $(firstword $(MAKEFILE_LIST))

setup: ## Install the package and the tools for tests, style and types
	$(PYTHON) -m pip install -c constraints.txt -e ".[test]"
	npm ci

run: ## Start the panel
	$(PYTHON) app.py

demo: ## Start the panel with the demo's settings
	$(PYTHON) app.py --demo

test: ## Run the tests of .ci/run; browser tests need Chromium
	ONETRAINER_GRADIO_CHAOS_ROUNDS=1 $(PYTHON) -m pytest -n $(PROCESSES) -m "not exhaustive"

exhaustive: ## Run all tests (about an hour), or all of some folders: PARTS="tests/api tests/service"
	ONETRAINER_GRADIO_CHAOS_ROUNDS=4 $(PYTHON) -m pytest -n $(PROCESSES) $(PARTS)

fast: ## Run the fast tests in two processes
	$(PYTHON) -m tests.fast

lint: ## Check the style of Python, JavaScript and CSS
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	npx --no-install biome ci --error-on-warnings

types: ## Check the types of Python and JavaScript
	$(PYTHON) -m mypy
	npx --no-install tsc

docs: ## Write the generated parts of the docs again
	$(PYTHON) docs/generate.py

coverage: ## Measure the branch coverage of all tests and print what fell
	$(PYTHON) -m coverage erase
	$(PYTHON) -m coverage run -m pytest -n $(PROCESSES)
	$(PYTHON) -m coverage combine --quiet
	$(PYTHON) -m coverage json --quiet -o coverage.json
	$(PYTHON) -m tests.coverage_figures coverage.json

bench: ## Measure the step time of the engine and the first page view
	$(PYTHON) benchmarks/engine.py
	$(PYTHON) benchmarks/page_load.py
