# make test | test-all | demo | lint   everything happens in .venv, made on first use
# make test PYTHON=/some/python  use that environment as it is; nothing is installed into it
# make demo DATA=/path/to/isbi   train on real cephalograms instead of phantoms
# make demo QUICK=1              the same with fewer phantoms, for a shorter time

SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BASE_PYTHON ?= python3
# One more than cores: many tests wait for processes that they start.
JOBS ?= $(shell echo $$(( $$(nproc) + 1 )))
NATIVE := $(wildcard csrc/*.cpp csrc/*/*.* csrc/*/*/*.*)

ifdef PYTHON
ENVIRONMENT := check-python
RUNTIME := check-runtime
else
PYTHON := $(VENV)/bin/python
ENVIRONMENT := $(VENV)/.installed
RUNTIME := $(ENVIRONMENT)
endif
RUN := PYTHONPATH=$(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH)) $(PYTHON)

help:  ## show what can be made
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/.installed: requirements/runtime.txt requirements/develop.txt setup.py tools/install.sh mmlandmark/version.py $(NATIVE)
	@echo "== making the environment in $(VENV)"
	@test -x $(VENV)/bin/python || $(BASE_PYTHON) -m venv $(VENV) || \
	  { echo "python3 -m venv failed: on Debian, apt-get install python3-venv" >&2; exit 1; }
	tools/install.sh $(VENV)/bin/python
	@touch $@

check-python: check-runtime
	@$(PYTHON) -c "import pytest, xdist, pytest_timeout, hypothesis" || \
	  { echo "$(PYTHON) lacks what tests need: run tools/install.sh $(PYTHON), or leave PYTHON out" >&2; exit 1; }

check-runtime:
	@$(PYTHON) -c "import torch, mmengine, mmcv, cv2, scipy, matplotlib" || \
	  { echo "$(PYTHON) lacks a dependency: run tools/install.sh $(PYTHON), or leave PYTHON out" >&2; exit 1; }

# Tests compute with one thread; so do the processes that they start, or they would wait for each other.
test test-all: export OMP_NUM_THREADS ?= 1
test: $(ENVIRONMENT)  ## run the test suite, but for tests that take long
	$(RUN) -m pytest -n $(JOBS) --dist worksteal -m "not slow" $(PYTEST_ARGS)

test-all: $(ENVIRONMENT)  ## run all tests
	$(RUN) -m pytest -n $(JOBS) --dist worksteal $(PYTEST_ARGS)

demo: $(ENVIRONMENT)  ## train and test a detector in a few minutes; see work_dirs/demo
	$(RUN) -m mmlandmark demo $(if $(DATA),--data "$(DATA)") $(if $(QUICK),--quick)

wheel-check: $(ENVIRONMENT)  ## build wheels, install them into new environments, run the demo and a package on top
	MMLANDMARK_TEST_WHEEL=1 $(RUN) -m pytest -n $(JOBS) --dist loadscope tests/test_wheel.py

# MINUTES=3 is the part for continuous integration; RECORD=docs/benchmarks/torture.json keeps the counts.
torture: export OMP_NUM_THREADS ?= 1
torture: $(ENVIRONMENT)  ## kill, stop, damage and attack trainings and files for 30 minutes (MINUTES=3): nothing may be lost
	@mkdir -p work_dirs
	$(RUN) -m mmlandmark.testing.torture "$(or $(RECORD),work_dirs/torture.json)" --minutes $(or $(MINUTES),30) $(if $(PAGE),--page "$(PAGE)")

lint: $(ENVIRONMENT)  ## style, types and spelling
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	$(PYTHON) -m codespell_lib
	$(PYTHON) -c 'from clang_format import clang_format; clang_format()' --dry-run -Werror $(NATIVE) $(wildcard tests/test_ops/cuda_shim/* tests/test_ops/exponential/*)

cuda-compile-check: $(ENVIRONMENT)  ## compile the CUDA kernels for all GPUs, on a machine without one
	$(RUN) -m mmlandmark check-cuda-compile

# Packages to leave out of gpu-wheels: what the machine with the GPU has. Python there: GPU_PYTHON=3.12
gpu-wheels: $(RUNTIME)  ## download what gpu-day needs beyond torch and numpy into gpu_wheels/
	$(RUN) -m mmlandmark gpu-wheels $(if $(GPU_PYTHON),--python $(GPU_PYTHON)) $(if $(GPU_HAS),--without $(GPU_HAS))

# GPU_DAY_DEVICE=cpu rehearses it; PACKED=folder of images, OUT=folder of JSON, MINUTES=8, PARTS="build tests ..."
gpu-day: PYTHON := $(BASE_PYTHON)
gpu-day:  ## on a machine with a GPU and torch: build, test, measure and train within 8 minutes
	PYTHONPATH=$(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH)) $(PYTHON) -m mmlandmark gpu-day --device $(or $(GPU_DAY_DEVICE),cuda) --minutes $(or $(MINUTES),8) \
	  --packed "$(or $(PACKED),data/packed)" --out "$(or $(OUT),work_dirs/gpu_day)" $(if $(PARTS),--parts $(PARTS))

.PHONY: gpu-day gpu-wheels wheel-check torture help check-python check-runtime test test-all demo lint cuda-compile-check
