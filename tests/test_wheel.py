"""What a user gets who installs the package: wheels built from the source distribution, a package on top.

The wheels are installed into environments of their own, which borrow torch and other dependencies from the
environment that runs the tests, but not its mmlandmark. ``make wheel-check`` runs this file.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

import mmlandmark

ROOT = Path(__file__).parents[1]
DOWNSTREAM = ROOT / "tests" / "data" / "downstream"
CONFIG = "dilated_fly-wings_96x72.py"
NO_COMPILER = dict(CC="/bin/false", CXX="/bin/false")
BUILDS = {"compiled": dict(MMLANDMARK_WITH_EXT="1", MMLANDMARK_WITH_CUDA="0"), "plain": NO_COMPILER}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.environ.get("MMLANDMARK_TEST_WHEEL") != "1", reason="minutes of builds: make wheel-check runs them"
    ),
]


def run(*command: object, cwd: Path, **variables: str) -> str:
    """Run a command that must succeed, without anything of this checkout on the path; return its output."""
    environment = dict(os.environ, OMP_NUM_THREADS="1", MPLBACKEND="agg", **variables)
    for name in ("PYTHONPATH", "MMLANDMARK_DISABLE_EXT"):
        environment.pop(name, None)
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


def is_plain(wheel: Path) -> bool:
    """Return whether a wheel is the one that was built without a compiler."""
    return wheel.parents[1].name.startswith("plain")


def build_wheel(source: Path, folder: Path, **variables: str) -> Path:
    """Build the wheel of a project with the installed setuptools and torch; return its path."""
    words = ("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source)
    run(sys.executable, "-m", "pip", *words, cwd=folder.parent, **variables)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    """Build the source distribution from what git knows, so that leftovers of a checkout do not help."""
    folder = tmp_path_factory.mktemp("sdist")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / "tree" / name)
    code = f"from setuptools import build_meta; build_meta.build_sdist({str(folder)!r})"
    run(sys.executable, "-c", code, cwd=folder / "tree", MMLANDMARK_WITH_EXT="0")
    (archive,) = folder.glob("*.tar.gz")
    return archive


@pytest.fixture(scope="class")
def wheel(request, sdist, tmp_path_factory) -> Path:
    """Build the wheel of a class of tests from the source distribution."""
    folder = tmp_path_factory.mktemp(request.cls.build)
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (source,) = folder.iterdir()
    return build_wheel(source, folder / "wheels", **BUILDS[request.cls.build])


@pytest.fixture(scope="class")
def commands(wheel, tmp_path_factory) -> Path:
    """Install the wheel, and the package built on it, into a new environment; return its ``bin``."""
    folder = tmp_path_factory.mktemp("environment")
    shutil.copytree(DOWNSTREAM, folder / "project")
    downstream = build_wheel(folder / "project", folder / "wheels")
    venv.create(folder / "venv")
    python = folder / "venv" / "bin" / "python"
    run(
        sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", wheel, downstream, cwd=folder
    )
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    # Behind the environment's own packages. The .pth files of the other environment are not read, so its
    # editable install of mmlandmark does not count.
    (Path(site) / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "venv" / "bin"


@pytest.fixture
def wings(tmp_path) -> Path:
    """Write six images and their landmarks in the format of the downstream package."""
    folder = tmp_path / "wings"
    folder.mkdir()
    rng = np.random.default_rng(0)
    lines = []
    for number in range(6):
        points = rng.uniform(10, 60, (3, 2)).round(1)
        image = rng.integers(0, 60, (96, 72), dtype=np.uint8)
        for x, y in points:
            cv2.circle(image, (round(x), round(y)), 3, 255, -1)
        cv2.imwrite(str(folder / f"{number}.png"), image)
        split = "train" if number < 4 else "test"
        lines.append(f"{number}.png {split} " + " ".join(map(str, points.ravel())))
    (folder / "wings.txt").write_text("\n".join(lines) + "\n")
    return folder


def test_source_distribution_is_complete(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    listed = subprocess.run(
        ["git", "ls-files", "mmlandmark", "configs", "csrc", "tools", "requirements"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert set(listed.stdout.splitlines()) <= names
    assert {"LICENSE", "README.md", "setup.py", "pyproject.toml"} <= names
    assert not [name for name in names if name.endswith((".so", ".pyc"))]


class Wheel:
    """What holds of every wheel. With ``--dist loadscope`` each build has a worker of its own."""

    build: str

    def test_wheel_holds_configs_schemas_and_commands(self, wheel):
        with zipfile.ZipFile(wheel) as archive:
            names = set(archive.namelist())
            (metadata,) = (archive.read(name).decode() for name in names if name.endswith("/METADATA"))
        configs = (p for p in (ROOT / "configs").rglob("*") if p.suffix in (".py", ".txt"))
        shipped = [p.relative_to(ROOT) for p in configs]
        shipped += [p.relative_to(ROOT / "mmlandmark") for p in (ROOT / "mmlandmark").rglob("*.py")]
        shipped += [p.relative_to(ROOT / "mmlandmark") for p in (ROOT / "mmlandmark").rglob("schemas/*.json")]
        assert {f"mmlandmark/{path.as_posix()}" for path in shipped} <= names
        assert "mmlandmark/py.typed" in names
        libraries = [name for name in names if name.endswith(".so")]
        assert [name.split(".")[0] for name in libraries] == ([] if is_plain(wheel) else ["mmlandmark/_C"])
        assert {name.split("/")[0] for name in names} == {
            "mmlandmark",
            f"mmlandmark-{mmlandmark.__version__}.dist-info",
        }
        assert "Provides-Extra: lite" in metadata

    def test_demo_runs_in_an_empty_folder(self, commands, wheel, tmp_path):
        version = run(commands / "mmlandmark", "--version", cwd=tmp_path)
        assert version == f"mmlandmark {mmlandmark.__version__}\n"
        code = "import mmlandmark; from mmlandmark.ops import backend; print(mmlandmark.__file__, backend())"
        where, _, backend = run(commands / "python", "-c", code, cwd=tmp_path).partition(" ")
        assert Path(where).is_relative_to(commands.parent)
        assert backend.startswith("reference" if is_plain(wheel) else "native")
        out = run(commands / "mmlandmark", "demo", "--quick", cwd=tmp_path)
        error = float(out.partition("Mean radial error: ")[2].split(" ")[0])
        assert 0 < error < 2, out[-500:]  # percent; untrained, it is some 40
        assert [path.name for path in tmp_path.iterdir()] == ["work_dirs"]

    def test_a_package_on_top_trains_and_tests(self, commands, wings, tmp_path):
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        config = DOWNSTREAM / "configs" / CONFIG
        variables = dict(FLY_WINGS_ROOT=str(wings))
        trained = run(commands / "mmlandmark", "train", config, "--seed", 1, cwd=elsewhere, **variables)
        assert "1 epochs of 2 steps" in trained
        run(commands / "mmlandmark", "test", config, "--no-figures", cwd=elsewhere, **variables)
        work = elsewhere / "work_dirs" / config.stem
        assert (work / "epoch_1.pth").is_file()
        (scalars,) = work.glob("*/vis_data/scalars.json")
        assert '"wing_length"' in scalars.read_text()
        cases = json.loads((work / "test" / "predictions.json").read_text())["cases"]
        assert [case["sample_id"] for case in cases] == ["4.png", "5.png"]
        assert list(elsewhere.iterdir()) == [elsewhere / "work_dirs"]


class TestCompiled(Wheel):
    """A wheel with the operators."""

    build = "compiled"


class TestPlain(Wheel):
    """A wheel that was built without a compiler."""

    build = "plain"
