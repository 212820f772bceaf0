# Everything runs in .venv, which `make` creates with the versions in constraints.txt. The sandbox
# builds its tools once, in the user's cache. Nothing else on the machine is changed.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

# Most tests wait for servers: a machine with two cores keeps up with four workers.
WORKERS ?= 4
PYTEST := $(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder
SELECT := -m "not long"
# Packages whose tests need programs that `sandbox build` makes. Each worker of the first keeps one
# control plane until its end, which takes a fifth of a core even if nobody uses it.
PLANES := chart cluster guides
BUILT := benchmarks brokers campaign gitops judges packaging reconcile review sandbox truth

# Seconds for which a campaign fuzzes the opening of events.
FUZZ ?= 3600

IMAGE ?= troth:dev
ENGINE ?= $(firstword $(foreach each,docker podman buildah,$(if $(shell command -v $(each)),$(each))))
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

.PHONY: help demo test test-all campaign check crds docs image bench bench-all clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1 \t/p' Makefile

# Only a kubeconfig that is written on the command line: the environment names kubectl's own cluster.
NAMED := $(if $(filter command,$(firstword $(origin KUBECONFIG))),--kubeconfig "$(KUBECONFIG)")

demo: $(READY) ## run the demo; KUBECONFIG=path: on that cluster; ACTS="calls tokens"; BROKER=kafka
	$(BIN)/python -m sandbox.demo $(NAMED) $(ACTS)

# While the programs of the sandbox are built, which takes long once, tests run that need none. The
# end repeats what failed, because the progress of a later run of pytest hides it.
test: check ## run the checks, then the tests; ONLY=edge: those in tests/edge
ifdef ONLY
	$(PYTEST) $(SELECT) $(addprefix tests/,$(ONLY))
else
	export TEST_FAILURES=$(CURDIR)/.pytest_cache/failures; \
	mkdir -p .pytest_cache; : > $$TEST_FAILURES; trap 'cat $$TEST_FAILURES' EXIT; \
	$(BIN)/python -m sandbox build & build=$$!; \
	$(PYTEST) $(SELECT) $(PLANES:%=--ignore=tests/%) $(BUILT:%=--ignore=tests/%); others=$$?; \
	wait $$build || exit; \
	$(PYTEST) $(SELECT) $(PLANES:%=tests/%); planes=$$?; \
	$(PYTEST) $(SELECT) $(BUILT:%=tests/%) && exit $$((others + planes))
endif

test-all: SELECT := --override-ini session_timeout=
test-all: test ## run the checks, then all tests, which takes more than an hour

campaign: $(READY) ## run the random and crash tests for hours; FUZZ=600: seconds of the fuzzer
	$(BIN)/python -m sandbox build
	HYPOTHESIS_PROFILE=thorough $(PYTEST) --timeout=0 --override-ini session_timeout= \
		tests/campaign tests/cluster/crashes tests/cluster/faults tests/edge/events/fuzz
	$(BIN)/python -m tests.edge.events.fuzz all -max_len=16384 -max_total_time=$(FUZZ)

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

clean: ## remove generated files
	rm -rf .venv build dist site operator/*.egg-info .*_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[dev]'
	touch $@
