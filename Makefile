# Everything runs in .venv, which `make` creates with the versions in constraints.txt. The sandbox
# builds its tools once, in the user's cache. Nothing else on the machine is changed.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

# Seconds for which a campaign fuzzes the opening of events.
FUZZ ?= 3600

IMAGE ?= troth:dev
ENGINE ?= $(firstword $(foreach each,docker podman buildah,$(if $(shell command -v $(each)),$(each))))
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

.PHONY: help demo test test-all campaign check crds docs image bench bench-all hooks clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1 \t/p' Makefile

# Only a kubeconfig that is written on the command line: the environment names kubectl's own cluster.
NAMED := $(if $(filter command,$(firstword $(origin KUBECONFIG))),--kubeconfig "$(KUBECONFIG)")

demo: $(READY) ## run the demo; KUBECONFIG=path: on that cluster; ACTS="calls tokens"; BROKER=kafka
	$(BIN)/python -m sandbox.demo $(NAMED) $(ACTS)

test: $(READY) ## run the checks, then the tests that decide about a change; ONLY=edge: those in tests/edge
	$(BIN)/python -m tests.gate gate $(if $(SHARD),--shard='$(SHARD)') $(ONLY)

test-all: $(READY) ## run the checks, then every test, which takes hours; ONLY as above; SHARD=2/6: the second of six shards
	$(BIN)/python -m tests.gate all $(if $(SHARD),--shard='$(SHARD)') $(ONLY)

campaign: $(READY) ## run the random and crash tests for hours; FUZZ=600: seconds of the fuzzer
	$(BIN)/python -m sandbox build
	HYPOTHESIS_PROFILE=thorough $(BIN)/pytest --numprocesses 4 --dist loadfile --timeout=0 \
		tests/campaign tests/cluster/crashes tests/cluster/faults tests/edge/events/fuzz
	$(BIN)/python -m tests.edge.events.fuzz all -max_len=16384 -max_total_time=$(FUZZ)

check: $(READY) ## check style, types, import layers, generated files and the package
	@$(BIN)/python -m tests.gate age
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
	cp operator/troth/review/admission.yaml charts/troth/files/review-admission.yaml
	$(BIN)/python -m website --write

docs: $(READY) ## build the documentation site into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

image: ## build the image with docker, podman or buildah; IMAGE=registry.example/troth:dev
	$(or $(ENGINE),$(error install docker, podman or buildah to build the image)) build \
		--build-arg VERSION=$(VERSION) --build-arg REVISION=$(shell git rev-parse HEAD) \
		--tag $(IMAGE) .

bench: $(READY) ## measure the main figures in ten minutes, each beside a floor; JSON=results.json
	$(BIN)/python -m benchmarks --short $(if $(JSON),--json $(JSON))

bench-all: $(READY) ## run every benchmark at full size, for hours; JSON=results.json
	$(BIN)/python -m benchmarks $(if $(JSON),--json $(JSON))

hooks: ## warn before a push of a commit that .ci/as-ci has not tried
	install -m 755 .ci/hooks/pre-push "$$(git rev-parse --git-path hooks)/pre-push"

clean: ## remove generated files
	rm -rf .venv build dist site operator/*.egg-info .*_cache .hypothesis

# pip asks the package index; its second try may be lucky.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(INSTALL) pip setuptools || $(INSTALL) pip setuptools
	$(INSTALL) --no-build-isolation --editable '.[dev]' || $(INSTALL) --no-build-isolation --editable '.[dev]'
	touch $@
