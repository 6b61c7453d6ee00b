# Every target makes .venv first when it is missing or out of date; see scripts/setup.sh for the variables.
.DEFAULT_GOAL := help
SHELL := /bin/bash
BIN := .venv/bin
PYTHON_FILES := src tests benchmarks scripts examples
export PYTHON TORCH_INDEX

.PHONY: help setup demo test test-interop soak lint types tables docs dist format clean

help: ## say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/ready ## make .venv with everything in it

.venv/ready: pyproject.toml constraints.txt scripts/setup.sh scripts/check_rendering.py
	@bash scripts/setup.sh

demo: .venv/ready ## a policy improves by what simulated robots practise in scene 1; run it again to resume
	$(BIN)/soar improve --scene scene1 --policy language --collector base --episodes 60 --trials 20 --run runs/demo

test: .venv/ready ## run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

test-interop: .venv/ready ## try other people's software: file formats and robots, most of it in environments of its own
	scripts/peer.sh lerobot
	scripts/peer.sh lerobot-arm
	scripts/peer.sh lerobot-policies
	scripts/peer.sh tfds
	scripts/peer.sh s3
	scripts/peer.sh d3rlpy
	scripts/peer.sh libero
	scripts/peer.sh light
	scripts/peer.sh openpi
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m interop tests/interop tests/examples

soak: .venv/ready ## attack store, servers, clients and shell for hours; an interrupted call goes on where it was
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.attack.soak --results results/reliability.json

lint: .venv/ready ## check style and formatting
	$(BIN)/ruff check $(PYTHON_FILES)
	$(BIN)/ruff format --check $(PYTHON_FILES)

types: .venv/ready ## check the types, strictly
	$(BIN)/mypy src

tables: .venv/ready ## regenerate the tables of README and docs from results/, and the notebook of the tutorial
	$(BIN)/python -m soar.reports.docs_tables README.md $(wildcard docs/*.md)
	$(BIN)/python scripts/tutorial_notebook.py

docs: .venv/ready ## build the documentation site into build/docs/site; a link that leads nowhere is an error
	$(BIN)/python scripts/site_pages.py build/docs
	cd build/docs && $(CURDIR)/$(BIN)/zensical build --strict --clean

dist: .venv/ready ## build wheel and sdist into dist/, from a tree in which everything is committed
	@test -z "$$(git status --porcelain)" || { echo "dist: commit or remove these first:"; git status --short; exit 1; }
	$(BIN)/python -m hatchling build --clean

format: .venv/ready ## format the code and fix what can be fixed
	$(BIN)/ruff check --fix $(PYTHON_FILES)
	$(BIN)/ruff format $(PYTHON_FILES)

clean: ## remove .venv and caches, but no run
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis
