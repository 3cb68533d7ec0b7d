# make run: one real run in a fresh environment. make test: every check that guards the project.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: run test leaderboard docs release clean

run: $(VENV)/.base
	$(BIN)/bench run --method litelora --stream digits
	@echo "Digits shows that everything works and how a method treats its head; it needs no adapter, so it cannot rank adapters."

test: $(VENV)/.full
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/bench leaderboard --check
	$(BIN)/python -m pytest -n 3 --dist worksteal --durations 25

leaderboard: $(VENV)/.base
	$(BIN)/bench leaderboard
	$(BIN)/python -m scripts.readme_table

# Documentation and boards as one site, into build/docs; fails where a link leads nowhere.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	$(BIN)/python -m scripts.check_links build/docs

# Wheel and source archive into dist/, checked as the package index does.
release: $(BIN)/python
	rm -rf dist build
	$(INSTALL) build twine
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*

clean:
	rm -rf $(VENV) runs build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Stamps: installed again only when the requirements change.
$(VENV)/.base: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e .
	touch $@

$(VENV)/.full: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e ".[tune,plots,offline,backbones,quantized,docs,dev]"
	touch $(VENV)/.base $(VENV)/.docs $@

$(VENV)/.docs: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e ".[docs,plots]"
	touch $(VENV)/.base $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
