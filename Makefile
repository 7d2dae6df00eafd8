# Each target does its own set-up in .venv; a warm run installs nothing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt
PYTEST := $(BIN)/python -m pytest
# An editable install knows the packages it saw: a new one asks for another.
PACKAGES := $(wildcard src/espalier/*/__init__.py src/espalier/*/*/__init__.py)
NATIVE := CMakeLists.txt $(wildcard native/*/*.cpp native/*/*.h)
KERNEL_TESTS := $(wildcard tests/kernels tests/inference)
NATIVE_TESTS := $(wildcard tests/kernels tests/files tests/inference)
LADDERS := $(patsubst benchmarks/ladder/%.py,%,$(wildcard benchmarks/ladder/[a-z]*.py))

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Several test processes share the cores: a waiting OpenMP thread must sleep, not spin.
test sanitize: export OMP_WAIT_POLICY := passive

.NOTPARALLEL:
.PHONY: help demo test lint format sanitize gpu-check clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/installed  ## set up and run the main job on embedded data
	@$(BIN)/espalier demo

test: lint  ## set up, check the style, and test under every instruction set of this machine
	@for name in $$($(BIN)/python tools/slower_instruction_sets.py); do \
	  test -z "$(KERNEL_TESTS)" && break; \
	  echo "== kernel tests under ESPALIER_ISA=$$name"; \
	  ESPALIER_ISA=$$name $(PYTEST) --quiet --numprocesses auto $(KERNEL_TESTS) \
	    --ignore tests/inference/gpu || exit 1; \
	done
	@for name in $(LADDERS); do \
	  echo "== benchmarks.ladder.$$name --smoke"; \
	  $(BIN)/python -m benchmarks.ladder.$$name --smoke || exit 1; \
	done
	@echo "== all tests under the fastest instruction set"
	@$(PYTEST) --numprocesses auto

lint: $(VENV)/installed $(VENV)/developer  ## ruff, clang-format and mypy, changing nothing
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --check --quiet
	$(BIN)/clang-format --dry-run -Werror native/*/*.cpp native/*/*.h
	$(BIN)/mypy

format: $(VENV)/developer  ## mend what ruff and clang-format can mend
	$(BIN)/ruff check --fix --quiet
	$(BIN)/ruff format
	$(BIN)/clang-format -i native/*/*.cpp native/*/*.h

sanitize: $(VENV)/installed $(VENV)/developer  ## native tests under AddressSanitizer and UBSan
	tools/sanitize $(NATIVE_TESTS)

gpu-check: $(VENV)/installed $(VENV)/developer  ## on a machine with an NVIDIA GPU: tests, tables
	$(BIN)/python -m benchmarks.gpu build/gpu

clean:  ## remove everything the other targets made
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/tools: constraints.txt pyproject.toml tools/preflight
	@PYTHON=$(PYTHON) tools/preflight
	@echo "== setting up $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) pip
	@$(PIP) --group build
	@touch $@

$(VENV)/installed: $(VENV)/tools $(NATIVE) $(PACKAGES)
	@echo "== building espalier, which takes a minute or two"
	@$(PIP) --no-build-isolation --editable '.[train,plot,partition,mpi]'
	@touch $@

$(VENV)/developer: $(VENV)/tools
	@echo "== installing the developers' tools"
	@$(PIP) --group dev
	@touch $@
