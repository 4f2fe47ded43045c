"""The benchmark of the operators runs, and its page is written from its JSON."""

from __future__ import annotations

import json
import shutil
import subprocess
from argparse import Namespace
from pathlib import Path

import pytest
import torch

from mmlandmark.cli import benchmark_ops, invoke
from mmlandmark.testing.measure import median_ratio, paired_times
from mmlandmark.testing.op_contenders import FAMILIES

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "benchmarks"


def test_functions_take_turns():
    calls = []
    functions = {name: lambda n=name: calls.append(n) for name in "abc"}
    times = paired_times(functions, rounds=2, warmup=1)
    assert "".join(calls) == "abc" + "aabbcc" + "bbccaa"
    assert {len(seconds) for seconds in times.values()} == {2}
    assert median_ratio([2.0, 9.0, 4.0], [1.0, 1.0, 1.0]) == 4.0


@pytest.mark.parametrize("family", ["ewc", "expectation", "expectation_backward", "heatmap", "peak"])
def test_contenders_compute_the_same(family):
    torch.manual_seed(0)
    shape = (2, 3, 24, 40)
    functions = FAMILIES[family](shape, "cpu")
    results = {name: function() for name, function in functions.items() if "compile" not in name}
    first = {name: r[0] if isinstance(r, tuple) else r for name, r in results.items()}
    ours = first["mmlandmark"]
    # What is only a yardstick, in other units, or rounds to whole pixels on purpose.
    yardsticks = ("clone", "amax", "torch.full", "dsntnn", "NumPy as in MMPose, windows", "kornia render")
    for name, result in first.items():
        if not name.startswith(yardsticks):
            torch.testing.assert_close(result, ours, rtol=1e-4, atol=1e-4)


def test_a_contender_that_fails_is_left_out_and_named(tmp_path, monkeypatch, capsys):
    def families(shape, device):
        def broken():
            raise RuntimeError("no such kernel")

        return {"mmlandmark": lambda: torch.ones(shape), "peer": broken}

    def nothing_of_ours(shape, device):
        return {"mmlandmark": families(shape, device)["peer"]}

    out = tmp_path / "result.json"
    monkeypatch.setitem(FAMILIES, "peak", families)
    monkeypatch.setitem(FAMILIES, "heatmap", nothing_of_ours)
    monkeypatch.setitem(benchmark_ops.SHAPES, "farnet", (1, 1, 4, 4))
    monkeypatch.setattr(benchmark_ops, "linearity", lambda args: json.loads(out.read_text())["failed"])
    args = Namespace(
        device="cpu",
        threads=torch.get_num_threads(),
        families=["peak", "heatmap"],
        shapes=["farnet"],
        rounds=1,
        out=out,
    )
    result = benchmark_ops.measure(args)
    assert set(result["table"]["peak"]["farnet"]) == {"mmlandmark", benchmark_ops.COPY}
    assert result["failed"] == {
        "peak farnet peer": "RuntimeError: no such kernel",
        "heatmap farnet mmlandmark": "RuntimeError: no such kernel",
    }
    assert result["linearity"] == result["failed"], "what is known is not on disk before the run ends"
    assert "peer failed: RuntimeError: no such kernel" in capsys.readouterr().out


@pytest.mark.slow
def test_measures_and_renders(tmp_path, monkeypatch):
    """Two settings are measured; the others, which are nothing but variables, get what the first measured."""
    run, variables, measured = subprocess.run, {}, {}

    def run_or_copy(command, **options):
        if "--setting" not in command:
            return run(command, **options)
        setting, out = (command[command.index(word) + 1] for word in ("--setting", "--out"))
        variables[setting] = options["env"]
        if setting not in ("default", "kept_memory"):
            return Path(out).write_bytes(measured["default"])
        run(command, **options)
        measured[setting] = Path(out).read_bytes()

    monkeypatch.setattr(subprocess, "run", run_or_copy)
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    words = [
        "--shapes", "farnet", "--families", "peak", "--rounds", "1", "--threads", "1",
        "--level", "base", "--out", folder / "ops_cpu.json",
    ]  # fmt: skip
    invoke("benchmark-ops", [str(word) for word in words])
    result = json.loads((folder / "ops_cpu.json").read_text())
    assert [path.name for path in folder.iterdir()] == ["ops_cpu.json"], "a part of a result is left behind"
    assert set(result["settings"]) == {"default", "system_pages", "torch_huge_pages", "kept_memory"}
    assert variables["system_pages"]["MMLANDMARK_HUGE_PAGES"] == "0"
    assert variables["torch_huge_pages"]["THP_MEM_ALLOC_ENABLE"] == "1"
    used = result["settings"]["default"]["instructions"]
    assert used["torch"] in ("DEFAULT", "NO AVX")
    assert used["backend"].startswith("reference") or "base instructions" in used["backend"]
    assert result["environment"]["MMLANDMARK_CPU_LEVEL"] == result["level"] == "base"
    assert result["sources"] == benchmark_ops.sources_digest("cpu")
    rows = result["settings"]["default"]["table"]["peak"]["farnet"]
    assert rows["mmlandmark"]["times_ours"] == 1
    assert result["peers"].keys() == {"kornia", "dsntnn", "landmarker"}
    page = tmp_path / "benchmarks.md"
    page.write_text("# Page\n\n<!-- ops_cpu:begin -->\nold\n<!-- ops_cpu:end -->\n\nafter\n")
    invoke("benchmark-ops", ["--render", str(page)])
    text = page.read_text()
    assert "old" not in text
    assert "#### Highest pixel and centroid around it" in text
    assert "| 1x19x800x640 | mmlandmark |" in text
    assert text.endswith("after\n")


def test_a_level_is_one_of_the_cpu():
    with pytest.raises(ValueError, match="--level is about instructions of the CPU"):
        invoke("benchmark-ops", ["--level", "avx2", "--device", "cuda"])


def test_results_are_those_of_the_present_operators():
    for path in sorted(RESULTS.glob("ops_*.json")):
        result = json.loads(path.read_text())
        again = f"mmlandmark benchmark-ops --level {result['level']} --out docs/benchmarks/{path.name}"
        assert result["sources"] == benchmark_ops.sources_digest(result["device"]), (
            f"csrc is not what {path.name} was measured with; run the benchmark again, then --render: {again}"
        )


@pytest.mark.parametrize("page", ["docs/benchmarks.md", "docs/operators.md", "README.md"])
def test_pages_hold_the_results_of_the_runs(page, tmp_path):
    shutil.copytree(RESULTS, tmp_path / "benchmarks")
    copy = Path(shutil.copy(ROOT / page, tmp_path))
    invoke("benchmark-ops", ["--render", str(copy)])
    assert copy.read_text() == (ROOT / page).read_text(), f"mmlandmark benchmark-ops --render {page}"


def test_a_change_of_code_is_seen_and_one_of_comments_is_not(tmp_path, monkeypatch):
    digest = benchmark_ops.sources_digest
    monkeypatch.setattr(benchmark_ops, "native_sources", lambda: tmp_path / "csrc")
    for folder in ("common", "cpu/rows", "cuda"):
        (tmp_path / "csrc" / folder).mkdir(parents=True)
    code = tmp_path / "csrc" / "cpu" / "rows" / "loop.h"
    code.write_text("int a;  // what\nint b;\n")
    before = digest("cpu"), digest("cuda")
    code.write_text("// why\nint a; int b;\n")
    assert (digest("cpu"), digest("cuda")) == before
    code.write_text("int a; int c;\n")
    assert digest("cpu") != before[0]
    assert digest("cuda") == before[1]


def test_a_page_without_marks_is_named(tmp_path):
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "ops_cpu.json").write_text("{}")
    page = tmp_path / "page.md"
    page.write_text("nothing")
    with pytest.raises(ValueError, match="has no <!-- ops_cpu:begin -->"):
        benchmark_ops.render(page)
