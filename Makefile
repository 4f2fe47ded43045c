# make test | demo | lint        everything happens in .venv, made on first use
# make test PYTHON=/some/python  use that environment as it is; nothing is installed into it
# make demo DATA=/path/to/isbi   train on real cephalograms instead of phantoms

SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BASE_PYTHON ?= python3
JOBS ?= 2
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
	@$(PYTHON) -c "import pytest, xdist, hypothesis" || \
	  { echo "$(PYTHON) lacks what tests need: run tools/install.sh $(PYTHON), or leave PYTHON out" >&2; exit 1; }

check-runtime:
	@$(PYTHON) -c "import torch, mmengine, mmcv, cv2, scipy, matplotlib" || \
	  { echo "$(PYTHON) lacks a dependency: run tools/install.sh $(PYTHON), or leave PYTHON out" >&2; exit 1; }

test: $(ENVIRONMENT)  ## run the test suite
	$(RUN) -m pytest -n $(JOBS) --dist loadfile $(PYTEST_ARGS)

demo: $(ENVIRONMENT)  ## train and test a detector in a few minutes; see work_dirs/demo
	$(RUN) -m mmlandmark demo $(if $(DATA),--data "$(DATA)")

wheel-check: $(ENVIRONMENT)  ## build wheels, install them into new environments, run the demo and a package on top
	MMLANDMARK_TEST_WHEEL=1 $(RUN) -m pytest -q tests/test_wheel.py

lint: $(ENVIRONMENT)  ## style, types and spelling
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	$(PYTHON) -m codespell_lib
	$(PYTHON) -c 'from clang_format import clang_format; clang_format()' --dry-run -Werror $(NATIVE) $(wildcard tests/test_ops/cuda_shim/* tests/test_ops/exponential/*)

cuda-compile-check: $(ENVIRONMENT)  ## compile the CUDA kernels for all GPUs, on a machine without one
	$(RUN) -m mmlandmark check-cuda-compile

cuda-validate: $(ENVIRONMENT)  ## on a machine with a GPU: build, test and measure the operators
	MMLANDMARK_WITH_EXT=1 MMLANDMARK_WITH_CUDA=1 $(PYTHON) -m pip install --no-build-isolation --no-deps -e .
	$(RUN) -m pytest -q tests/test_ops
	$(RUN) -m mmlandmark benchmark-ops --device cuda --out $(or $(OUT),docs/benchmarks)/ops_cuda.json

GPU_CONFIG := configs/farnet/farnet_densenet121_packed-isbi2015_800x640_gpu.py
gpu-train: $(RUNTIME)  ## with a GPU: train FARNet on PACKED=folder for MINUTES=8, test, results to OUT=; again goes on
	@test -f "$(PACKED)/annotations.json" || \
	  { echo "PACKED=folder of mmlandmark pack-data is needed, it has no annotations.json" >&2; exit 1; }
	@$(PYTHON) -c "import sys, torch; sys.exit(None if torch.cuda.is_available() else 'gpu-train: PyTorch sees no GPU')"
	MMLANDMARK_WITH_EXT=1 MMLANDMARK_WITH_CUDA=1 $(PYTHON) setup.py build_ext --inplace
	PACKED_ROOT="$(PACKED)" $(RUN) -m mmlandmark train $(GPU_CONFIG) --resume auto \
	  --work-dir "$(or $(OUT),work_dirs/gpu)" --cfg-options default_hooks.checkpoint.budget_minutes=$(or $(MINUTES),8) \
	  || test $$? -eq 75  # stopped in time
	PACKED_ROOT="$(PACKED)" $(RUN) -m mmlandmark test $(GPU_CONFIG) \
	  --work-dir "$(or $(OUT),work_dirs/gpu)" --record "$(or $(OUT),work_dirs/gpu)/result.json"

.PHONY: wheel-check gpu-train help check-python check-runtime test demo lint cuda-compile-check cuda-validate
