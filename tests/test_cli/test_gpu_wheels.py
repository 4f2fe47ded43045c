"""mmlandmark gpu-wheels: what is downloaded, for which Python, and what is said of its size."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from mmlandmark.cli import gpu_wheels, invoke

ROOT = Path(__file__).parents[2]


@pytest.fixture
def pip(monkeypatch):
    """Stand in for pip: write an empty wheel of every distribution, and keep the command lines."""
    calls = []

    def run(command, **options):
        calls.append(command)
        folder = Path(command[command.index("--dest") + 1])
        for name in command[command.index("--dest") + 2 :]:
            (folder / f"{name.replace('-', '_')}-1.0-py3-none-any.whl").write_bytes(b"x" * 2**20)
        return subprocess.CompletedProcess(command, 0, stderr="")

    monkeypatch.setattr(gpu_wheels.subprocess, "run", run)
    return calls


def test_what_a_machine_has_is_left_out_with_all_it_needs(tmp_path, pip, capsys):
    (tmp_path / "pillow-0.1-py3-none-any.whl").touch()
    (tmp_path / "kornia_rs-0.1-py3-none-any.whl").touch()
    words = ["--python", "3.12", "--out", str(tmp_path), "--without", "matplotlib", "scipy"]
    assert invoke("gpu-wheels", words) is None
    (command,) = pip
    assert command[command.index("--python-version") + 1] == "3.12"
    names = {path.name.split("-")[0] for path in tmp_path.glob("*.whl")}
    assert {"mmengine", "addict", "kornia", "kornia_rs", "ninja"} <= names
    assert not names & {"matplotlib", "pillow", "scipy", "torch", "numpy"}
    printed = capsys.readouterr().out
    assert f"{len(names)}.00 MiB  {len(names)} wheels in {tmp_path}" in printed
    assert "more than" not in printed


def test_wheels_of_others_stay(tmp_path, pip):
    (tmp_path / "mine-0.1-py3-none-any.whl").touch()
    invoke("gpu-wheels", ["--out", str(tmp_path)])
    assert (tmp_path / "mine-0.1-py3-none-any.whl").exists()


def test_too_large_a_folder_is_reported(tmp_path, pip, capsys, monkeypatch):
    monkeypatch.setattr(gpu_wheels, "LIMIT", 3)
    invoke("gpu-wheels", ["--out", str(tmp_path)])
    assert "more than 3 MiB: leave out with --without what the machine has" in capsys.readouterr().out


def test_what_pip_says_is_passed_on(tmp_path, monkeypatch):
    def run(command, **options):
        return subprocess.CompletedProcess(command, 1, stderr="ERROR: No matching distribution found\n")

    monkeypatch.setattr(gpu_wheels.subprocess, "run", run)
    with pytest.raises(ValueError, match=r"Python 9\.9:\nERROR: No matching distribution"):
        invoke("gpu-wheels", ["--python", "9.9", "--out", str(tmp_path)])


def test_everything_that_runs_is_carried():
    """What the tested installation and its tests need is among the wheels, or on the machine."""
    carried = {*gpu_wheels.wanted([]), "torch", "numpy", "opencv-python"}
    needed = re.findall(
        r"^([A-Za-z0-9-]+)==", (ROOT / "requirements" / "runtime.txt").read_text(), re.MULTILINE
    )
    assert set(needed) | {"pytest", "pytest-xdist", "hypothesis"} <= carried
