# Everything runs in .venv, which `make` sets up with the versions constraints.txt names. What the
# sandbox has to build goes to the user's cache, once; nothing else on the machine is changed.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: help demo test campaign check crds bench clean

help: ## say what can be made
	@sed -n 's/^\([a-z-]*\):.*## /  make \1 \t/p' Makefile

demo: $(READY) ## show it at work, on a real node where there can be one; BROKER=kafka: with Kafka
	$(BIN)/python -m sandbox.demo

test: check ## check, then run all tests
	$(BIN)/python -m sandbox build
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile

campaign: $(READY) ## try far longer what changes, faults and crashes break, at random and at every write
	$(BIN)/python -m sandbox build
	HYPOTHESIS_PROFILE=thorough $(BIN)/pytest tests/campaign tests/cluster/crashes

check: $(READY) ## what needs no cluster and no patience: style, types, layers, generated files
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/troth crds --check crds --check charts/troth/files/crds

crds: $(READY) ## generate crds/ from the models
	$(BIN)/troth crds --write crds --write charts/troth/files/crds

bench: $(READY) ## measure, each figure against a floor of the same run
	$(BIN)/python -m benchmarks

clean: ## remove what was made here
	rm -rf .venv build dist operator/*.egg-info .*_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[dev]'
	touch $@
