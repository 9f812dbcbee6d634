# infertap: `make help` lists the targets.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PROTO_VENV := .venv-proto
PROTOS := $(shell find proto -name '*.proto')

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml
	@echo "Setting up $(VENV) (once; a minute or two) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "infertap needs Python 3.11 or newer; set PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) can't make virtual environments: install its venv package (Debian, Ubuntu: apt install python3-venv)"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

.PHONY: setup
setup: $(STAMP) ## make the virtual environment

.PHONY: demo
demo: $(STAMP) ## run the main job for real (ONCE=1 ends by itself)
	@$(BIN)/infertap demo $(if $(ONCE),--once)

.PHONY: test
test: $(STAMP) ## run the tests, two at a time
	@$(BIN)/python -m pytest -q --numprocesses 2 --dist worksteal

# What `INFERTAP_COMPILE=1 pip install .` installs, apart from the source, which it would shadow.
COMPILED := $(CURDIR)/build/compiled
.PHONY: compiled
compiled: $(STAMP) ## compile the hot modules into build/compiled (a minute; needs a C compiler)
	@rm -rf $(COMPILED) build/mypyc build/lib* build/bdist*
	@INFERTAP_COMPILE=1 $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --target $(COMPILED) .

.PHONY: test-compiled
test-compiled: compiled ## the tests of the hot modules, compiled
	@TEST_COMPILED=1 PYTHONSAFEPATH=1 PYTHONPATH=$(COMPILED) $(BIN)/python -m pytest -q \
		tests/structure/test_compiled.py tests/sidecar/protocols tests/sidecar/tap tests/sidecar/handoff \
		tests/sidecar/relay tests/journeys/test_byte_law.py tests/journeys/test_byte_law_http2.py

.PHONY: lint
lint: $(STAMP) ## format, lint, types, fresh generated code
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(MAKE) --no-print-directory proto-check

.PHONY: check
check: lint test ## what to run before a commit: lint and tests

.PHONY: format
format: $(STAMP) ## format and mend what ruff can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

# Generated with an old enough compiler that the code loads on protobuf 6 and 7 (docs/decisions/0002).
$(PROTO_VENV)/.installed:
	@$(PYTHON) -m venv $(PROTO_VENV)
	@$(PROTO_VENV)/bin/pip install --quiet --disable-pip-version-check 'grpcio-tools==1.81.1' 'mypy-protobuf==3.7.0' 'setuptools<81'
	@touch $@

PROTO_OUT ?= .
.PHONY: proto
proto: $(PROTO_VENV)/.installed ## regenerate the code of proto/
	@$(PROTO_VENV)/bin/python -m grpc_tools.protoc -I proto \
		--plugin=protoc-gen-mypy=$(PROTO_VENV)/bin/protoc-gen-mypy \
		--plugin=protoc-gen-mypy_grpc=$(PROTO_VENV)/bin/protoc-gen-mypy_grpc \
		--python_out=$(PROTO_OUT) --grpc_python_out=$(PROTO_OUT) \
		--mypy_out=quiet:$(PROTO_OUT) --mypy_grpc_out=quiet:$(PROTO_OUT) $(PROTOS)

.PHONY: proto-check
proto-check: $(PROTO_VENV)/.installed ## fail if generated code is stale
	@rm -rf build/proto && mkdir -p build/proto
	@$(MAKE) --no-print-directory proto PROTO_OUT=build/proto
	@for f in $$(cd build/proto && find . -name '*_pb2*'); do cmp -s "build/proto/$$f" "$$f" || { echo "$$f is stale: run make proto"; exit 1; }; done

.PHONY: bench-relay
bench-relay: $(STAMP) ## the relay beside its peers (25 minutes; BENCH="--help" tells how to shorten it)
	@$(BIN)/python -m bench.relay $(BENCH)

.PHONY: bench-redaction
bench-redaction: $(STAMP) ## recall and false positives of every class in every encoding (2 minutes; BENCH=--brief)
	@$(BIN)/python -m bench.redaction $(BENCH)

.PHONY: bench-recorder
bench-recorder: $(STAMP) ## records a second into the durable spool, on one core; the relay beside (2 minutes; BENCH=--brief)
	@$(BIN)/python -m bench.recorder $(BENCH)

.PHONY: bench-storage
bench-storage: $(STAMP) ## storage: ingest, and questions at two million records (6 minutes; BENCH=--brief)
	@$(BIN)/python -m bench.storage $(BENCH)

.PHONY: bench-spool
bench-spool: $(STAMP) ## the spool: records a second, restart with a GiB, drain of an outage (4 minutes; BENCH=--brief)
	@$(BIN)/python -m bench.spool $(BENCH)

.PHONY: test-kubernetes
test-kubernetes: $(STAMP) ## lint, render and validate the chart with the real Helm SDK
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[kubernetes]'
	@$(BIN)/python -m pytest -q -m kubernetes tests/helm

.PHONY: test-long
test-long: $(STAMP) ## what takes minutes: storage away for a minute
	@$(BIN)/python -m pytest -q -m long tests

.PHONY: test-root
test-root: $(STAMP) ## redirect mode with real iptables rules; needs root (else skipped, with the reason)
	@$(BIN)/python -m pytest -q -m root -rs tests

.PHONY: test-faults
test-faults: $(STAMP) ## the laws under real faults: crashes, disks, networks, clocks (eight minutes; root for some)
	@$(BIN)/python -m pytest -q -m faults --timeout 240 -rs tests/faults

# Each environment is made anew when its list changes; none of them ever touches $(VENV).
PEERS := build/peers/mlserver build/peers/llm build/peers/kafka
build/peers/%/.installed: tests/journeys/peers/%.txt
	@echo "Setting up $(@D) (once; about a minute) ..."
	@rm -rf $(@D) && $(PYTHON) -m venv $(@D)
	@$(@D)/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

.PHONY: peers
peers: $(PEERS:%=%/.installed)

.PHONY: test-peers
test-peers: $(STAMP) ## calls of real clients to real model servers (installs them, 1.4 GB; two minutes at first)
	@$(MAKE) --no-print-directory -j2 peers
	@$(BIN)/python -m pytest -v -m peers tests/journeys/peers

# Half a gigabyte that only a server process of the tests needs: an environment of its own.
CLICKHOUSE := build/clickhouse/.installed
$(CLICKHOUSE): tests/storage/archive/clickhouse.txt
	@echo "Setting up $(@D) (once; about half a minute) ..."
	@rm -rf $(@D) && $(PYTHON) -m venv $(@D)
	@$(@D)/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

.PHONY: clickhouse
clickhouse: $(CLICKHOUSE)

.PHONY: test-clickhouse
test-clickhouse: $(STAMP) $(CLICKHOUSE) ## the ClickHouse engine on a real one (installs it, 900 MB; two minutes)
	@$(BIN)/python -m pytest -q -m clickhouse --timeout 300 tests

.PHONY: test-protobuf
test-protobuf: $(STAMP) ## load the generated code on protobuf 6 and on 7
	@$(BIN)/python -m pytest -q -m protobuf_versions tests/structure

FUZZ_SECONDS ?= 60
.PHONY: fuzz
fuzz: $(STAMP) ## fuzz what reads foreign bytes (FUZZ="hpack sse", FUZZ_SECONDS=60 for each)
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[fuzz]'
	@$(BIN)/python -m tests.fuzz $(FUZZ) --seconds $(FUZZ_SECONDS)

SOAK_SECONDS ?= 600
.PHONY: soak
soak: $(STAMP) ## mixed and hostile traffic for ten minutes (SOAK_SECONDS): nothing may leak, everything is counted
	@$(BIN)/python -m tests.soak --seconds $(SOAK_SECONDS)

.PHONY: clean
clean: ## remove what the targets made
	@rm -rf $(VENV) $(PROTO_VENV) build .demo bench/results
