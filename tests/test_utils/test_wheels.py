"""Wheels unpacked where pip has nothing to download from."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from mmlandmark.utils.wheels import normalised, unpack_missing, wheels_in

HERE = f"cp3{sys.version_info[1]}"


def make_wheel(folder: Path, name: str, files: dict[str, str]) -> Path:
    path = folder / name
    with zipfile.ZipFile(path, "w") as archive:
        for place, text in files.items():
            archive.writestr(place, text)
    return path


def test_names_compare_equal_however_they_are_spelt():
    assert normalised("MMCV_lite") == normalised("mmcv.-lite") == "mmcv-lite"


@pytest.mark.parametrize(
    ("tags", "fits"),
    [
        ("py3-none-any", True),
        ("py2.py3-none-any", True),
        ("py2-none-any", False),
        (f"{HERE}-{HERE}-manylinux_2_28_x86_64", True),
        ("cp36-cp36m-manylinux1_x86_64", False),
        ("cp37-abi3-manylinux_2_28_x86_64", True),
        ("cp399-abi3-manylinux_2_28_x86_64", False),
    ],
)
def test_a_wheel_says_which_python_it_is_for(tmp_path, tags, fits):
    make_wheel(tmp_path, f"some_thing-1.0-{tags}.whl", {})
    (wheel,) = wheels_in(tmp_path)
    assert (wheel.name, wheel.version, wheel.fits) == ("some-thing", "1.0", fits)


def test_only_what_is_missing_is_unpacked(tmp_path):
    wheels, site = tmp_path / "wheels", tmp_path / "site"
    wheels.mkdir()
    make_wheel(wheels, "mml_probe_pkg-2.1-py3-none-any.whl", {"mml_probe_pkg.py": "VALUE = 7"})
    make_wheel(wheels, "torch-0.1-py3-none-any.whl", {"torch.py": "broken ="})
    make_wheel(wheels, "mml_old-1.0-cp36-cp36m-any.whl", {"mml_old.py": ""})
    assert unpack_missing(wheels, site) == {
        "mml-old": f"mml_old-1.0-cp36-cp36m-any.whl is not for Python 3.{sys.version_info[1]}",
        "mml-probe-pkg": "unpacked, 2.1",
        "torch": "installed",
    }
    assert sorted(path.name for path in site.iterdir()) == ["mml_probe_pkg.py"]
    code = "import mml_probe_pkg; print(mml_probe_pkg.VALUE)"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(site)}, capture_output=True, text=True
    )
    assert done.stdout == "7\n"


def test_programs_can_be_run(tmp_path):
    files = {
        "mml_tool-1.data/scripts/mml-tool": "#!/bin/sh\necho ran\n",
        "mml_tool-1.data/purelib/mml_tool.py": "",
        "mml_tool-1.data/headers/mml.h": "",
    }
    make_wheel(tmp_path, "mml_tool-1-py3-none-any.whl", files)
    unpack_missing(tmp_path, tmp_path / "site")
    assert subprocess.run([tmp_path / "site" / "bin" / "mml-tool"], capture_output=True).stdout == b"ran\n"
    assert sorted(p.name for p in (tmp_path / "site").iterdir()) == ["bin", "mml_tool.py"]


def test_both_names_of_opencv_are_one_module(tmp_path):
    make_wheel(tmp_path, "opencv_python_headless-5-py3-none-any.whl", {"cv2.py": "broken ="})
    assert unpack_missing(tmp_path, tmp_path / "site") == {"opencv-python-headless": "installed"}


def test_a_folder_that_is_not_there_has_no_wheels(tmp_path):
    assert unpack_missing(tmp_path / "none", tmp_path / "site") == {}


@pytest.mark.parametrize(
    "place", ["../outside.py", "/tmp/outside.py", "mml_bad-1.data/purelib/../../outside.py"]
)
def test_nothing_is_written_outside_of_the_folder(tmp_path, place):
    wheel = make_wheel(tmp_path, "mml_bad-1-py3-none-any.whl", {place: ""})
    with pytest.raises(ValueError, match=rf"{wheel.name} holds .*outside of"):
        unpack_missing(tmp_path, tmp_path / "site")


def test_a_file_that_is_named_like_no_wheel_is_named(tmp_path):
    make_wheel(tmp_path, "something.whl", {})
    with pytest.raises(ValueError, match=r"something\.whl has not the name of a wheel"):
        wheels_in(tmp_path)
