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
else
PYTHON := $(VENV)/bin/python
ENVIRONMENT := $(VENV)/.installed
endif

help:  ## show what can be made
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/.installed: requirements/runtime.txt requirements/develop.txt setup.py tools/install.sh mmlandmark/version.py $(NATIVE)
	@echo "== making the environment in $(VENV)"
	@test -x $(VENV)/bin/python || $(BASE_PYTHON) -m venv $(VENV) || \
	  { echo "python3 -m venv failed: on Debian, apt-get install python3-venv" >&2; exit 1; }
	tools/install.sh $(VENV)/bin/python
	@touch $@

check-python:
	@$(PYTHON) -c "import torch, mmengine, mmcv, cv2, scipy, matplotlib, pytest, xdist, hypothesis" || \
	  { echo "$(PYTHON) lacks a dependency: run tools/install.sh $(PYTHON), or leave PYTHON out" >&2; exit 1; }

test: $(ENVIRONMENT)  ## run the test suite
	PYTHONPATH=$(CURDIR) $(PYTHON) -m pytest -n $(JOBS) --dist loadfile $(PYTEST_ARGS)

demo: $(ENVIRONMENT)  ## train and test a detector in a few minutes; see work_dirs/demo
	PYTHONPATH=$(CURDIR) $(PYTHON) tools/demo.py $(if $(DATA),--data "$(DATA)")

lint: $(ENVIRONMENT)  ## style, types and spelling
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	$(PYTHON) -m codespell_lib
	$(PYTHON) -c 'from clang_format import clang_format; clang_format()' --dry-run -Werror $(NATIVE) $(wildcard tests/test_ops/cuda_shim/*)

cuda-compile-check: $(ENVIRONMENT)  ## compile the CUDA kernels for all GPUs, on a machine without one
	PYTHONPATH=$(CURDIR) $(PYTHON) tools/check_cuda_compile.py

cuda-validate: $(ENVIRONMENT)  ## on a machine with a GPU: build, test and measure the operators
	MMLANDMARK_WITH_EXT=1 MMLANDMARK_WITH_CUDA=1 $(PYTHON) -m pip install --no-build-isolation --no-deps -e .
	PYTHONPATH=$(CURDIR) $(PYTHON) -m pytest -q tests/test_ops
	PYTHONPATH=$(CURDIR) $(PYTHON) tools/benchmark_ops.py --device cuda --out $(or $(OUT),docs/benchmarks)/ops_cuda.json

GPU_CONFIG := configs/farnet/farnet_densenet121_packed-isbi2015_800x640_gpu.py
gpu-train: $(ENVIRONMENT)  ## with a GPU: train FARNet on PACKED=folder for MINUTES=8, test, results to OUT=; again goes on
	@test -f "$(PACKED)/annotations.json" || \
	  { echo "PACKED=folder of tools/pack_dataset.py is needed, it has no annotations.json" >&2; exit 1; }
	PYTHONPATH=$(CURDIR) PACKED_ROOT="$(PACKED)" $(PYTHON) tools/train.py $(GPU_CONFIG) --resume auto \
	  --work-dir "$(or $(OUT),work_dirs/gpu)" --cfg-options default_hooks.checkpoint.budget_minutes=$(or $(MINUTES),8)
	PYTHONPATH=$(CURDIR) PACKED_ROOT="$(PACKED)" $(PYTHON) tools/test.py $(GPU_CONFIG) \
	  --work-dir "$(or $(OUT),work_dirs/gpu)" --record "$(or $(OUT),work_dirs/gpu)/result.json"

.PHONY: gpu-train help check-python test demo lint cuda-compile-check cuda-validate
