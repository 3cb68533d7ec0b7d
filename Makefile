# make run: one real run in a fresh environment. make test: every check that guards the project.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: run test leaderboard clean

run: $(VENV)/.base
	$(BIN)/bench run --method litelora --stream digits

test: $(VENV)/.full
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/bench leaderboard --check
	$(BIN)/python -m pytest -n 2

leaderboard: $(VENV)/.base
	$(BIN)/bench leaderboard

clean:
	rm -rf $(VENV) runs build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Stamps: installed again only when the requirements change.
$(VENV)/.base: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e .
	touch $@

$(VENV)/.full: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e ".[tune,plots,offline,backbones,dev]"
	touch $(VENV)/.base $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
