#!/usr/bin/env bash
# Install mmlandmark and its dependencies into the environment of a python: tools/install.sh PYTHON
#
# TORCH=auto (default) installs the CPU build of torch if no NVIDIA GPU is found, TORCH=cuda the CUDA build
# (several GB), TORCH=cpu the CPU build. An installed torch >= 2.6 is kept.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:?usage: tools/install.sh PYTHON}
torch_version=2.13.0
say() { printf '\n== %s\n' "$*"; }
pip() { "$python" -m pip --disable-pip-version-check "$@"; }

"$python" - <<'PY' || { echo "python 3.10 or newer is needed, this is $("$python" --version)" >&2; exit 1; }
import sys
sys.exit(sys.version_info < (3, 10))
PY

kind=${TORCH:-auto}
if [ "$kind" = auto ]; then
  kind=cpu
  if command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1; then kind=cuda; fi
fi
if "$python" -c 'import torch, sys; v = torch.__version__.split("."); sys.exit((int(v[0]), int(v[1])) < (2, 6))' 2>/dev/null; then
  say "torch $("$python" -c 'import torch; print(torch.__version__)') is installed already"
elif [ "$kind" = cuda ]; then
  say "installing torch $torch_version with CUDA (several GB)"
  pip install "torch==$torch_version"
else
  say "installing torch $torch_version, CPU build"
  # First from the indexes that pip is configured for, then from PyTorch's index of CPU builds.
  pip install "torch==$torch_version+cpu" 2>/dev/null ||
    pip install "torch==$torch_version+cpu" --extra-index-url https://download.pytorch.org/whl/cpu 2>/dev/null ||
    { say "no CPU build for this platform: installing torch $torch_version as it is published"
      pip install "torch==$torch_version"; }
fi

say "installing the pinned dependencies"
pins=$(mktemp)
trap 'rm -f "$pins"' EXIT
cp requirements/runtime.txt "$pins"
# An installed distribution of mmcv or mmengine (mmcv, mmcv-lite, or a fork with the same modules) is kept.
for module in mmengine mmcv; do
  if "$python" -c "import importlib.util as u, sys; sys.exit(u.find_spec('$module') is None)"; then
    sed -i "/^$module/d" "$pins"
  fi
done
pip install -r "$pins" -r requirements/develop.txt

if ! "$python" -c 'import cv2' 2>/dev/null; then
  say "opencv-python does not load here (no libGL or glib): using opencv-python-headless instead"
  version=$("$python" -c 'from importlib.metadata import version; print(version("opencv-python"))')
  pip uninstall --yes opencv-python
  pip install "opencv-python-headless==$version"
  "$python" -c 'import cv2'
fi

say "building and installing mmlandmark"
pip install "setuptools>=68" wheel ninja
bin=$(cd "$(dirname "$(command -v "$python")")" && pwd)  # where ninja is
PATH="$bin:$PATH" pip install --no-build-isolation --no-deps -e .
"$python" -c 'from mmlandmark.ops import backend; print("operators:", backend())'
