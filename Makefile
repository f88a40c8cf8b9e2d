# `make` alone prints this help. Everything runs from .venv/, which `make setup` makes; nothing else is installed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
# What is compiled when it is first called; each process of the tests would compile it for itself, all at once.
KERNELS := var/.kernels
REQUIREMENTS := base model broker evaluate export iceberg s3 triage peers flink dev uv

# Lint, types and unit tests side by side; each one's output in one piece where make can hold it back.
PARALLEL := --no-print-directory -j2 --keep-going $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)
# Tests against Kafka mostly wait: the others take the cores meanwhile, and give way to them.
YIELDING := nice -n 10
PYTEST := $(BIN)/pytest -q
NEEDS_BROKER := (integration or crash)
# Only the files with such tests: to import all the others takes each process 20 s of a core.
BROKER_FILES = $(shell grep -rlE 'mark\.(integration|crash)\b' --include='test_*.py' tests | sort)
# A file's tests stay together, or several processes would make what they share. Those against Kafka go in the order of
# tests/conftest.py: the longest files first, so that none runs alone at the end.
SIDE_BY_SIDE := --dist loadfile --no-loadscope-reorder
# Of two, each with all that it started had a core for less than half of its time, and waited for the rest.
BROKER_PROCESSES := 3
# What Kafka's Java has linked: the tests start some forty brokers, each for half the CPU time where Java is told of it.
KAFKA_CLASSES := var/kafka-classes.aot
TOLD_OF_CLASSES = JAVA_TOOL_OPTIONS='-XX:AOTCache="$(CURDIR)/$(KAFKA_CLASSES)"'
# A campaign that nobody has run before, every night; the same one all day.
NIGHTLY_SEED ?= $(shell date +%Y%m%d)
NIGHTLY_ROUNDS ?= 12

# Processes that each take all cores only wait for each other: on two cores, two processes that train networks took seven
# times the CPU time, and seven times as long, with two threads each.
export OMP_NUM_THREADS ?= 1
export PYTHONUNBUFFERED = 1
# Containers often set it: each of the many processes of the tests would then compile every module anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test check nightly lint types test-unit test-integration bench lock lock-check docs clean distclean

help: ## This list
	@printf 'Forebay: flow records in, graded and explained alerts out.\n\n'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf '\nPYTHON=python3.12 chooses the interpreter (3.11 or newer); ARGS="..." goes to forebay demo and pytest.\n'

setup: $(STAMP) $(KERNELS) ## Make .venv/ from the pinned, hashed requirements (again only when they changed)

$(STAMP): requirements/install.sh $(wildcard requirements/*.txt) pyproject.toml
	@PYTHON='$(PYTHON)' VENV='$(VENV)' bash requirements/install.sh
	@touch $@

$(KERNELS): $(shell find pipeline/alert pipeline/contracts pipeline/featurize pipeline/ingest pipeline/runtime models/igan -name '*.py') $(STAMP)
	@echo 'compiling what is not compiled yet, and scoring a plant to see that all is well' >&2
	@VENV='$(VENV)' bash requirements/kernels.sh >/dev/null
	@mkdir -p var && touch $@

$(KAFKA_CLASSES): tests/kafka_classes.py $(wildcard pipeline/tools/broker/*.py pipeline/tools/broker/*.lock) requirements/broker.txt $(STAMP)
	@mkdir -p var && $(BIN)/python -m tests.kafka_classes $@

demo: $(STAMP) $(KERNELS) ## Find, explain and archive the attacks on a real plant's network
	@$(BIN)/forebay demo $(ARGS)

# Lint and types begin while the kernels are compiled: each of them takes one core.
test: $(STAMP) ## Everything CI runs: lint, types, all tests but the nightly ones
	@$(MAKE) $(PARALLEL) lint types & checks=$$!; units=; trap 'kill $$checks $$units' INT TERM; \
	$(MAKE) --no-print-directory $(KERNELS); failed=$$?; \
	$(MAKE) $(PARALLEL) test-unit SLOW=1 & units=$$!; \
	$(MAKE) --no-print-directory test-integration || failed=1; \
	wait $$units || failed=1; wait $$checks || failed=1; exit $$failed

check: $(STAMP) ## The quick part: lint, types, unit tests but the slow ones
	@$(MAKE) $(PARALLEL) lint types test-unit

nightly: $(STAMP) $(KAFKA_CLASSES) ## What is too long for every run: see docs/testing.md (NIGHTLY_SEED, NIGHTLY_ROUNDS)
	@$(TOLD_OF_CLASSES) $(PYTEST) -n 2 $(SIDE_BY_SIDE) -m nightly --timeout 3600 $(ARGS); tests=$$?; \
	$(PYTEST) -n 2 --hypothesis-profile thorough --timeout 3600 \
		-m 'hypothesis and not ($(NEEDS_BROKER) or bench or gpu or nightly)'; thorough=$$?; \
	$(BIN)/forebay chaos run --seed $(NIGHTLY_SEED) --rounds $(NIGHTLY_ROUNDS); campaign=$$?; \
	printf 'nightly: tests %s, thorough %s, campaign %s (0: in order)\n' $$tests $$thorough $$campaign; \
	exit $$((tests | thorough | campaign))

lint: $(STAMP) ## Ruff: rules and formatting
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(STAMP) ## mypy --strict
	@$(BIN)/mypy

test-unit: $(STAMP) $(KERNELS) ## Tests that need neither Kafka nor a GPU (SLOW=1: the slow ones too)
	@$(if $(SLOW),$(YIELDING)) $(PYTEST) -n 2 $(SIDE_BY_SIDE) --ignore=tests/integration --ignore=tests/crash \
		--ignore=tests/bench $(if $(SLOW),,--ignore=tests/models/lab) \
		-m 'not ($(NEEDS_BROKER) or bench or gpu or nightly$(if $(SLOW),, or slow))' $(ARGS)

test-integration: $(STAMP) $(KERNELS) $(KAFKA_CLASSES) ## Tests against a real Kafka, kills included
	@$(TOLD_OF_CLASSES) $(PYTEST) -n $(BROKER_PROCESSES) $(SIDE_BY_SIDE) -m '$(NEEDS_BROKER) and not (bench or gpu or nightly)' $(BROKER_FILES) $(ARGS)

bench: $(STAMP) ## Figures: printed, never asserted
	@for name in ingest score archive model flow; do $(BIN)/python -m tests.bench.bench_$$name || exit 1; done
	@$(PYTEST) -s -m bench tests/bench $(ARGS)

lock: $(STAMP) ## Resolve requirements/*.in anew into pinned, hashed *.txt (UPGRADE=1 takes newer versions)
	@BIN='$(BIN)' UPGRADE='$(UPGRADE)' bash requirements/lock.sh $(REQUIREMENTS)

lock-check: $(STAMP) ## Fail if a *.txt no longer fits its *.in
	@$(PYTEST) tests/contract/test_requirements.py

docs: $(STAMP) ## Write the tables of docs/, dashboards and the operator's rules anew
	@$(BIN)/python -m tests.docs.tables
	@$(BIN)/python -m tests.k8s.monitoring.written

clean: ## Remove caches and all of var/: archive, models, Kafka's messages, settled incidents too
	@rm -rf var build .mypy_cache .ruff_cache .pytest_cache .hypothesis .numba_cache *.egg-info
	@find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean ## The same, and .venv/
	@rm -rf $(VENV)
