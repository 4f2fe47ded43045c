"""mmlandmark gpu-day: which parts run, with what, and what they leave."""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from mmlandmark.cli import gpu_day, invoke
from mmlandmark.cli.entry import make_parser

ROOT = Path(__file__).parents[2]


def arguments(tmp_path: Path, *words: str) -> Namespace:
    folders = ["--out", str(tmp_path / "out"), "--work-dir", str(tmp_path / "work")]
    return make_parser("gpu-day").parse_args([*folders, "--packed", str(tmp_path / "packed"), *words])


def parts_of(args: Namespace) -> dict:
    return {part.name: part for part in gpu_day.all_parts(args, ROOT, args.work_dir / "site-packages")}


@pytest.fixture
def gpu(monkeypatch):
    """Pretend that there is a GPU."""
    monkeypatch.setattr(gpu_day, "describe", lambda: dict(python="3", torch="2", gpu="a card", cores=4))


def test_without_a_gpu_every_part_is_skipped_and_says_why(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu_day, "describe", lambda: dict(python="3", torch="2", gpu=None, cores=4))
    words = ["--out", str(tmp_path / "out"), "--work-dir", str(tmp_path / "work"), "--wheels", str(tmp_path)]
    assert invoke("gpu-day", words) == 1
    reports = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "out").iterdir()}
    assert list(gpu_day.SHARES) == ["build", "tests", "operators", "step", "training"]
    assert set(reports) == set(gpu_day.SHARES)
    for report in reports.values():
        assert (report["status"], report["device"], report["rehearsal"]) == ("skipped", "cuda", False)
        assert report["reason"] == "PyTorch sees no GPU; --device cpu rehearses without one"
    assert "PyTorch sees no GPU" in capsys.readouterr().out


def test_a_rehearsal_says_so_and_keeps_no_old_report(tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    for old in ("training", "ops_cpu", "mine"):
        (out / f"{old}.json").write_text("{}")
    monkeypatch.setattr(gpu_day, "build_commands", lambda root: [[sys.executable, "-c", "print('built')"]])
    words = ["--device", "cpu", "--parts", "build", "--out", str(out), "--work-dir", str(tmp_path / "work")]
    assert invoke("gpu-day", [*words, "--wheels", str(tmp_path)]) == 0
    assert {path.name for path in out.iterdir()} == {"build.json", "mine.json"}
    report = json.loads((out / "build.json").read_text())
    assert (report["part"], report["device"], report["rehearsal"]) == ("build", "cpu", True)
    assert report["output_tail"] == "built\n"
    assert report["machine"]["gpu"] is None or report["device"] == "cpu"


def test_parts_see_the_checkout_and_the_unpacked_packages(tmp_path, gpu):
    parts = parts_of(arguments(tmp_path))
    environment = parts["build"].environment
    site = tmp_path / "work" / "site-packages"
    assert environment["PYTHONPATH"].split(":")[:2] == [str(ROOT), str(site)]
    assert environment["PATH"].split(":")[0] == str(site / "bin")
    assert (environment["MMLANDMARK_WITH_EXT"], environment["MMLANDMARK_WITH_CUDA"]) == ("1", "1")
    rehearsal = parts_of(arguments(tmp_path, "--device", "cpu"))["build"].environment
    assert (rehearsal["MMLANDMARK_WITH_CUDA"], rehearsal["CUDA_VISIBLE_DEVICES"]) == ("0", "")


def test_training_takes_the_minutes_that_are_left_but_those_of_its_test(tmp_path, gpu):
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "annotations.json").write_text("{}")
    part = parts_of(arguments(tmp_path))["training"]
    assert part.missing == ""
    assert part.environment["PACKED_ROOT"] == str(tmp_path / "packed")
    assert gpu_day.STOPPED_IN_TIME in part.allowed_codes
    for minutes, budget in ((10.0, "8.00"), (3.0, "2.00"), (0.5, "0.10")):
        train, test = part.commands(minutes)
        assert f"default_hooks.checkpoint.budget_minutes={budget}" in train
        assert train[train.index("--resume") :][:2] == ["--resume", "auto"]
        assert test[-2:] == ["--record", str(tmp_path / "out" / "farnet_result.json")]


def test_a_rehearsal_records_no_result(tmp_path):
    _, test = parts_of(arguments(tmp_path, "--device", "cpu"))["training"].commands(3.0)
    assert "--record" not in test
    assert "test_dataloader.dataset.indices=4" in test


def test_training_without_images_is_skipped(tmp_path, gpu):
    assert parts_of(arguments(tmp_path))["training"].missing == f"{tmp_path / 'packed'} has no images"


def test_commands_exist_and_take_their_arguments(tmp_path, gpu):
    parts = parts_of(arguments(tmp_path))
    commands = [
        command for name in ("operators", "step", "training") for command in parts[name].commands(3.0)
    ]
    for _, _, _, name, *words in commands:
        parsed = make_parser(name).parse_args(words)
        assert getattr(parsed, "device", "cuda") == "cuda"
        assert Path(getattr(parsed, "config", ROOT)).exists()


def test_failed_tests_are_named(tmp_path):
    (tmp_path / "test_some.py").write_text(
        "import pytest\n"
        "@pytest.mark.parametrize('device', ['cpu', 'cuda'])\n"
        "def test_one(device): assert device == 'cpu'\n"
        "def test_two(): pytest.skip('why')\n"
    )
    report = tmp_path / "tests.xml"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--junitxml={report}",
        "test_some.py",
    ]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 1
    assert gpu_day.counts_of(report) == dict(
        tests=3, failures=1, errors=0, skipped=1, on_cuda=1, failed=["test_some::test_one[cuda]"]
    )
