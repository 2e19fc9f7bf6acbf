# What one does with this repository. `make` alone lists it.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-quick system chaos lint format bench map servers sdks litellm collector ruler lock clean print-python

# The newest interpreter for which every dependency has wheels; `make setup PYTHON=/path/to/python` chooses another.
PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3; do \
	$$name -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$name && break; done)

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEV_INSTALLED := $(VENV)/.installed-dev
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
KAFKA_LIBS := .servers/kafka-libs
COPY_JARS := org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies
# Files of tests run in so many processes, each with servers of its own; 0: in one, as for a debugger.
TEST_PROCESSES ?= 2
PYTEST_ARGS ?=
QUICK := tests/aggregator tests/ingest/decoding tests/api/contract/test_stats_request.py tests/api/contract/test_usage_request.py tests/api/query tests/callmeter/planning tests/test_architecture.py
CHAOS_ARGS ?=
LOCK_OPTIONS := --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --custom-compile-command "make lock"

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## a virtual environment in .venv with callmeter and what requirements.lock pins

demo: setup ## everything on this machine, with synthetic calls flowing, at an address that is printed
	@$(BIN)/callmeter demo

test: system lint ## all there is to test, on real servers; installs what a fresh machine lacks; less than half an hour on two cores, 2 GB of disk
	$(BIN)/pytest --numprocesses $(TEST_PROCESSES) --dist loadfile $(PYTEST_ARGS)

test-quick: lint ## a subset without Java and chaos, on the embedded broker and Redis, in under three minutes
	CALLMETER_TEST_BROKER=embedded $(BIN)/pytest -q $(QUICK) $(PYTEST_ARGS)

system: ## what `make test` needs beside Python: Java and Maven, installed as root on Debian or Ubuntu, else named
	@tests/servers/install.sh

# Where Java cannot be had, CALLMETER_TEST_BROKER=embedded leaves out, loudly, what only Apache Kafka can show.
ifneq ($(CALLMETER_TEST_BROKER),embedded)
test: servers
endif
# npm's weave too, where there is npm; without it its tests are left out, loudly.
ifneq ($(shell command -v npm),)
test: sdks
endif

chaos: $(DEV_INSTALLED) servers ## kill, freeze, wipe and move everything under load, for most of an hour; CHAOS_ARGS="--only NAME --seed N --table FILE"
	$(BIN)/python -m tests.chaos $(CHAOS_ARGS)

lint: $(DEV_INSTALLED) ## style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV_INSTALLED) ## put all files in the one style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(DEV_INSTALLED) ## how fast it is on this machine
	$(BIN)/python -m bench

map: $(DEV_INSTALLED) ## write the map of all files in docs/architecture.md anew
	$(BIN)/python -m tests.support.house_map

servers: ## Apache Kafka for the tests, from Maven Central (Java 17 or newer and Maven needed)
	@tests/servers/require_java.sh
	@$(MAKE) --no-print-directory $(KAFKA_LIBS)/.complete

sdks: .servers/sdks/node_modules/.package-lock.json ## npm's weave for the tests that run it (Node 20 or newer needed; without it they are left out)

LITELLM_VERSION := 1.110.2

litellm: .servers/litellm/venv/.installed ## LiteLLM for the test that runs it (a minute; without it that test is left out)

.servers/litellm/venv/.installed: | $(BIN)/python
	$(BIN)/python -m venv .servers/litellm/venv
	.servers/litellm/venv/bin/python -m pip install --quiet --disable-pip-version-check litellm==$(LITELLM_VERSION)
	@touch $@

COLLECTOR_VERSION := v0.165.0

collector: .servers/otelcol/otelcol-callmeter ## an OpenTelemetry Collector for the test that runs it (Go 1.25 or newer needed; minutes)

.servers/otelcol/otelcol-callmeter: tests/sdks/otelcol.yaml
	mkdir -p .servers/otelcol
	cp $< .servers/otelcol/
	GOBIN=$(CURDIR)/.servers/otelcol go install go.opentelemetry.io/collector/cmd/builder@$(COLLECTOR_VERSION)
	cd .servers/otelcol && ./builder --config otelcol.yaml && cp build/otelcol-callmeter otelcol-callmeter
	@touch $@

VMALERT_VERSION := v1.151.0

ruler: .servers/vmalert/vmalert ## vmalert for the test in which it evaluates rules against the api (Go 1.26 or newer needed; minutes)

.servers/vmalert/vmalert:
	mkdir -p .servers/vmalert
	GOBIN=$(CURDIR)/.servers/vmalert go install github.com/VictoriaMetrics/VictoriaMetrics/app/vmalert@$(VMALERT_VERSION)

.servers/sdks/node_modules/.package-lock.json: tests/sdks/package-lock.json
	mkdir -p .servers/sdks
	cp tests/sdks/package.json tests/sdks/package-lock.json .servers/sdks/
	npm ci --prefix .servers/sdks --silent --ignore-scripts
	@touch $@

lock: $(DEV_INSTALLED) ## resolve the dependencies again; `make lock UPGRADE=--upgrade` takes newer ones
	$(BIN)/uv pip compile $(UPGRADE) $(LOCK_OPTIONS) --group pyproject.toml:dev --all-extras pyproject.toml -o requirements-dev.lock
	$(BIN)/uv pip compile $(UPGRADE) $(LOCK_OPTIONS) --group pyproject.toml:build --extra local pyproject.toml -c requirements-dev.lock -o requirements.lock
	$(BIN)/uv pip compile $(UPGRADE) $(LOCK_OPTIONS) --group pyproject.toml:build --extra buckets --extra export pyproject.toml -c requirements-dev.lock -o requirements-production.lock

clean: ## remove what the other targets made
	rm -rf $(VENV) .servers .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info

print-python:
	@echo $(PYTHON)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "callmeter needs Python 3.11 or newer with venv: install python3 and python3-venv, or name one, make setup PYTHON=/path/to/python." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): requirements.lock pyproject.toml | $(BIN)/python
	$(PIP_INSTALL) --require-hashes -r requirements.lock
	$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

# The same pins and what only developing needs: tests, types, style.
$(DEV_INSTALLED): requirements-dev.lock $(INSTALLED)
	$(PIP_INSTALL) --require-hashes -r requirements-dev.lock
	@touch $@

$(KAFKA_LIBS)/.complete: tests/servers/pom.xml
	rm -rf $(KAFKA_LIBS)
	mvn -q -B -f $< $(COPY_JARS) -DincludeScope=runtime -DoutputDirectory=$(CURDIR)/$(KAFKA_LIBS)
	@touch $@
