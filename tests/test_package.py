"""The package as a whole."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("name", "heavy"),
    [
        ("mmlandmark", {"torch", "mmengine", "mmcv", "numpy", "cv2", "scipy", "matplotlib"}),
        # Most commands import this. Each of these takes a second, and few commands need them.
        ("mmlandmark.apis", {"scipy.stats", "matplotlib", "SimpleITK", "onnxruntime", "torch._inductor"}),
    ],
)
def test_importing_it_is_light(name, heavy):
    code = (
        f"import sys, {name}\n"
        f"heavy = {heavy} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "print(mmlandmark.__version__)"
    )
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().count(".") == 2


def build(folder: Path, **variables: str) -> subprocess.CompletedProcess:
    """Build the extension in a copy of what setup.py needs, with a compiler that does not work."""
    (folder / "mmlandmark").mkdir()
    for name in ("setup.py", "README.md", "csrc", "mmlandmark/version.py", "mmlandmark/__init__.py"):
        (folder / name).symlink_to(ROOT / name)
    environment = dict(os.environ, CXX="/bin/false", CC="/bin/false", PYTHONPATH="", **variables)
    return subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--inplace"],
        cwd=folder, env=environment, capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.slow
def test_without_a_compiler_the_package_builds_and_says_what_is_missing(tmp_path):
    done = build(tmp_path, MMLANDMARK_WITH_EXT="auto")
    assert done.returncode == 0, done.stderr
    assert "plain PyTorch is used instead" in done.stderr
    assert "a C++ compiler (g++ or clang++) and ninja are needed" in done.stderr
    assert not list(tmp_path.glob("mmlandmark/*.so"))


def test_insisting_on_the_operators_fails_without_a_compiler(tmp_path):
    assert build(tmp_path, MMLANDMARK_WITH_EXT="1").returncode != 0


def test_a_misspelt_wish_is_named(tmp_path):
    done = build(tmp_path, MMLANDMARK_WITH_EXT="yes")
    assert done.returncode != 0
    assert "MMLANDMARK_WITH_EXT must be auto, 0 or 1, got 'yes'" in done.stderr


def backend(**variables: str) -> str:
    """Return what a new process says of its operators."""
    code = "from mmlandmark.ops import backend; print(backend())"
    environment = dict(os.environ, PYTHONPATH=str(ROOT), **variables)
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.slow
def test_backend_says_why():
    assert backend(MMLANDMARK_DISABLE_EXT="1") == "reference: MMLANDMARK_DISABLE_EXT is set\n"
    found = backend(MMLANDMARK_DISABLE_EXT="0")
    assert found.startswith(("native: mmlandmark._C for CPU", "reference: mmlandmark._C cannot be imported"))


@pytest.mark.slow
def test_levels_of_instructions_agree(tmp_path):
    if not backend(MMLANDMARK_DISABLE_EXT="0").startswith("native"):
        pytest.skip("the native operators were not built")
    code = (
        "import sys, torch\n"
        "from mmlandmark.ops import backend, ewc_loss, gaussian_heatmap, soft_argmax, refined_peak\n"
        "torch.manual_seed(0)\n"
        "results = []\n"
        "for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64):\n"
        "    points = torch.rand(2, 3, 2, dtype=torch.float64) * 40\n"
        "    maps = torch.randn(2, 3, 33, 47).to(dtype).requires_grad_()\n"
        "    loss = ewc_loss(maps, points, 2.0) + soft_argmax(maps, 4.0).sum() / 100\n"
        "    loss.backward()\n"
        "    drawn = gaussian_heatmap(points, (33, 47), 2.0, dtype=dtype)\n"
        "    results += [maps.grad, drawn, refined_peak(drawn, 'centroid', 2)[0]]\n"
        "torch.save(results, sys.argv[1])\n"
        "print(backend().build['cpu_level'])\n"
    )
    files = {}
    for wish in ("base", "avx2", ""):
        files[wish] = tmp_path / f"{wish or 'best'}.pt"
        variables = dict(
            os.environ, PYTHONPATH=str(ROOT), MMLANDMARK_CPU_LEVEL=wish, MMLANDMARK_DISABLE_EXT="0"
        )
        subprocess.run([sys.executable, "-c", code, files[wish]], env=variables, check=True)
    results = {wish: torch.load(file) for wish, file in files.items()}
    for level in ("base", "avx2"):
        for one, other in zip(results[level], results[""], strict=True):
            bound = {torch.bfloat16: 1e-2, torch.float16: 1e-3}.get(one.dtype, 1e-5)
            torch.testing.assert_close(one, other, rtol=bound, atol=bound)


def test_detectors_are_part_of_wheel_and_source_distribution(tmp_path):
    for name in ("setup.py", "README.md", "MANIFEST.in", "mmlandmark/__init__.py", "mmlandmark/version.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("configs/a.py", "mmlandmark/detectors/ceph19.mml.pth"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    environment = dict(os.environ, MMLANDMARK_WITH_EXT="0")
    for words in (("build_py", "-d", "out"), ("sdist", "-d", "out", "--formats=tar")):
        command = [sys.executable, "setup.py", "-q", *words]
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert (tmp_path / "out" / "mmlandmark" / "detectors" / "ceph19.mml.pth").is_file()
    (archive,) = (tmp_path / "out").glob("*.tar")
    with tarfile.open(archive) as files:
        assert any(name.endswith("mmlandmark/detectors/ceph19.mml.pth") for name in files.getnames())
