# Everything runs in .venv, which `make` creates with the versions in constraints.txt. The sandbox
# builds its tools once, in the user's cache. Nothing else on the machine is changed.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

# Most tests wait for servers: a machine with two cores keeps up with four workers.
WORKERS ?= 4
PYTEST := $(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder
# Packages whose tests need programs that `sandbox build` makes.
BUILT := benchmarks brokers campaign chart cluster gitops guides judges packaging reconcile sandbox truth

IMAGE ?= troth:dev
ENGINE ?= $(firstword $(foreach each,docker podman buildah,$(if $(shell command -v $(each)),$(each))))
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

.PHONY: help demo test campaign check crds docs image bench clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1 \t/p' Makefile

# Only a kubeconfig that is written on the command line: the environment names kubectl's own cluster.
NAMED := $(if $(filter command,$(firstword $(origin KUBECONFIG))),--kubeconfig "$(KUBECONFIG)")

demo: $(READY) ## run the demo; KUBECONFIG=path: on that cluster; ACTS="calls tokens"; BROKER=kafka
	$(BIN)/python -m sandbox.demo $(NAMED) $(ACTS)

# While the programs of the sandbox are built, which takes long once, tests run that need none.
test: check ## run the checks, then all tests; ONLY=edge: those in tests/edge
ifdef ONLY
	$(PYTEST) $(addprefix tests/,$(ONLY))
else
	$(BIN)/python -m sandbox build & build=$$!; \
	$(PYTEST) $(BUILT:%=--ignore=tests/%); others=$$?; \
	wait $$build && $(PYTEST) $(BUILT:%=tests/%) && exit $$others
endif

campaign: $(READY) ## run the random and crash tests for hours
	$(BIN)/python -m sandbox build
	HYPOTHESIS_PROFILE=thorough $(PYTEST) --timeout=0 --override-ini session_timeout= \
		tests/campaign tests/cluster/crashes tests/cluster/faults

check: $(READY) ## check style, types, import layers, generated files and the package
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/troth crds --check crds --check charts/troth/crds
	$(BIN)/python -m website --check
	rm -rf dist
	$(BIN)/python -m build --quiet --no-isolation
	$(BIN)/twine check --strict dist/*

crds: $(READY) ## generate crds/ and docs/reference/api from the models
	$(BIN)/troth crds --write crds --write charts/troth/crds
	$(BIN)/python -m website --write

docs: $(READY) ## build the documentation site into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

image: ## build the image with docker, podman or buildah; IMAGE=registry.example/troth:dev
	$(or $(ENGINE),$(error install docker, podman or buildah to build the image)) build \
		--build-arg VERSION=$(VERSION) --build-arg REVISION=$(shell git rev-parse HEAD) \
		--tag $(IMAGE) .

bench: $(READY) ## run the benchmarks, each against a floor of the same run
	$(BIN)/python -m benchmarks

clean: ## remove generated files
	rm -rf .venv build dist site operator/*.egg-info .*_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[dev]'
	touch $@
