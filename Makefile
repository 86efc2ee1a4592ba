# `make demo` and `make test` are all a newcomer needs: each makes .venv on its first call.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
FUZZ_MINUTES ?= 20

.PHONY: help demo test check lint fix docs fuzz package clean

help:
	@echo "make demo    train and test on the real DNA in data/, on a CPU, in minutes"
	@echo "make test    every test that CI runs"
	@echo "make check   lint, types, import layers and the fast tests, in under a minute"
	@echo "make lint    the same without the tests"
	@echo "make fix     apply automatic fixes"
	@echo "make fuzz    random input to all readers for FUZZ_MINUTES=20"
	@echo "make docs    write the documentation site into site/; open site/index.html"
	@echo "make package  build wheel and sdist; install the wheel into an empty environment, run the demo"
	@echo "make clean   remove what these commands made, .venv included"

# Installed anew only when pyproject.toml has changed. A half-made environment leaves no stamp.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "$(PYTHON) is Python " + sys.version.split()[0] + ", but rmt_genomics needs 3.11 or later. Try: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test,dev,workflow,docs]'
	@touch $@

demo: $(STAMP)
	$(BIN)/rmt-genomics demo --out runs/demo --overwrite

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist worksteal --cov

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not distributed"

fix: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

fuzz: $(STAMP)
	$(BIN)/python -m tests.fault.fuzz --minutes $(FUZZ_MINUTES)

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

package: $(STAMP)
	rm -rf dist build/empty
	$(BIN)/python -m build --outdir dist
	$(PYTHON) -m venv build/empty
	build/empty/bin/python -m pip install --quiet --disable-pip-version-check dist/*.whl
	cd build && empty/bin/rmt-genomics demo --out demo --overwrite

clean:
	rm -rf $(VENV) runs build dist site .coverage .coverage.* .hypothesis
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find rmt_genomics tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
