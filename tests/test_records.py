"""Recorded results stay on record, and their configs do not change."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from mmlandmark.apis import load_sweep, prepare_config
from mmlandmark.evaluation import read_superseded
from mmlandmark.utils.config_hash import config_hash

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "docs" / "benchmarks"


def _git(*arguments: str, text: str | None = None, root: Path = ROOT) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments], input=text, capture_output=True, text=True, check=True
    )
    return done.stdout


def _identity(record: dict) -> str:
    """Identify a result by its content, so that it may be moved and get further entries."""
    return json.dumps([record.get("date"), record.get("seed"), record["metrics"]], sort_keys=True)


def recorded_once(root: Path) -> dict[str, str]:
    """Return every result in the history of a repository, with its path."""
    pattern = ":(glob)configs/*/results/**/*.json"
    log = _git("log", "--raw", "--no-abbrev", "--no-renames", "-m", "--format=", "--", pattern, root=root)
    blobs = {}
    for line in log.splitlines():
        fields, path = line.lstrip(":").split("\t")
        _, _, before, after, _ = fields.split()
        blobs |= {blob: path for blob in (before, after) if set(blob) != {"0"}}
    contents = _git("cat-file", "--batch", text="".join(f"{blob}\n" for blob in blobs), root=root)
    decoder, position, results = json.JSONDecoder(), 0, {}
    for path in blobs.values():  # for each: a header line, the content, and a line break
        record, position = decoder.raw_decode(contents, contents.index("{", position))
        results[_identity(record)] = path
    return results


def on_record(root: Path) -> set[str]:
    """Return every recorded result."""
    return {_identity(json.loads(p.read_text())) for p in root.glob("configs/*/results/**/*.json")}


def deleted_results(root: Path) -> list[str]:
    """Return the paths of results that were recorded once and no longer exist."""
    kept = on_record(root)
    return sorted(path for identity, path in recorded_once(root).items() if identity not in kept)


def _history() -> str | None:
    """Return why the history is unavailable, or None."""
    try:
        shallow = _git("rev-parse", "--is-shallow-repository").strip()
    except (OSError, subprocess.CalledProcessError):
        return "this is no git repository"
    return "this clone is shallow" if shallow == "true" else None


def test_no_recorded_result_is_deleted():
    reason = _history()
    if reason:
        pytest.skip(f"{reason}: earlier records are unknown")
    gone = deleted_results(ROOT)
    assert not gone, (
        f"these recorded results are gone: {gone}. A result is never deleted: move it to superseded/ in the "
        "same folder and add superseded_by with the new record and the reason, see CONTRIBUTING.md"
    )
    assert len(recorded_once(ROOT)) > 150


def test_superseded_results_name_their_successors():
    folders = {path.parent.parent for path in ROOT.glob("configs/*/results/**/superseded/*.json")}
    assert folders
    for folder in folders:
        assert read_superseded(folder)


def test_superseded_benchmarks_name_their_successors():
    """A successor that is still to be measured is one that its page says nothing of."""
    paths = sorted(BENCHMARKS.glob("superseded/*.json"))
    assert len(paths) >= 8
    for path in paths:
        by = json.loads(path.read_text())["superseded_by"]
        assert set(by) == {"record", "why"}, path
        assert by["why"], path
        successor = BENCHMARKS / by["record"]
        assert successor.is_file(), f"{path}: {successor} is not there"


def test_a_deletion_is_seen_and_a_move_is_not(tmp_path):
    def commit() -> None:
        _git("add", "-A", root=tmp_path)
        who = ("-c", "user.name=n", "-c", "user.email=e@x", "-c", "commit.gpgsign=false")
        _git(*who, "commit", "-q", "-m", "m", root=tmp_path)

    _git("init", "-q", root=tmp_path)
    results = tmp_path / "configs" / "unet" / "results"
    (results / "sweep").mkdir(parents=True)
    paths = [results / "a_seed0.json", results / "sweep" / "b_seed0.json", results / "c_seed0.json"]
    for number, path in enumerate(paths):
        path.write_text(json.dumps(dict(date=f"day {number}", seed=0, metrics=dict(mre=number)), indent=2))
    commit()
    assert deleted_results(tmp_path) == []
    paths[0].unlink()
    commit()
    (results / "superseded").mkdir()
    moved = dict(json.loads(paths[1].read_text()), superseded_by=dict(record="c_seed0.json", why="w"))
    (results / "superseded" / "b_seed0.json").write_text(json.dumps(moved))
    paths[1].unlink()
    commit()
    # Overwritten by another result of the same name.
    paths[2].write_text(json.dumps(dict(date="day 9", seed=0, metrics=dict(mre=9))))
    assert deleted_results(tmp_path) == [
        "configs/unet/results/a_seed0.json",
        "configs/unet/results/c_seed0.json",
    ]


def _config_of(record: Path, arm: str):
    """Return the config of a record, as it is in this tree."""
    folder = next(parent for parent in record.parents if parent.name == "results").parent
    if record.parent.name == "results":
        return prepare_config(folder / f"{arm}.py")
    return load_sweep(folder / "sweeps" / f"{record.parent.name}.py").config_of(arm)


def _recorded_configs() -> dict[tuple[str, str], Path]:
    """Return one record of every config and arm, by folder and name; a mean of several has no config."""
    records = {}
    for path in sorted(ROOT.glob("configs/*/results/**/*_seed*.json")):
        if path.parent.name != "superseded":
            records[str(path.parent.relative_to(ROOT)), path.stem.rpartition("_seed")[0]] = path
    return records


@pytest.mark.parametrize(("folder", "arm"), _recorded_configs())
def test_a_recorded_config_is_still_what_the_tree_says(folder, arm):
    path = _recorded_configs()[folder, arm]
    recorded = json.loads(path.read_text())["config_hash"]
    assert config_hash(_config_of(path, arm)) == recorded, (
        "this config has changed since its results were recorded: undo that, or move its results to "
        "superseded/ and record new ones, or see CONTRIBUTING.md if it still trains the same weights"
    )


def test_former_hashes_lead_to_one_config():
    now: dict[str, set[str]] = {}
    rehashed = 0
    for path in sorted(ROOT.glob("configs/*/results/**/*.json")):
        record = json.loads(path.read_text())
        assert "former_config_hash" not in record, path
        former = record.get("former_config_hashes", [])
        chain = [*former, record["config_hash"]]
        assert all(re.fullmatch("[0-9a-f]{16}", text) for text in chain), path
        assert len(set(chain)) == len(chain), path
        rehashed += bool(former)
        for text in former:
            now.setdefault(text, set()).add(record["config_hash"])
    assert rehashed > 150
    assert all(len(hashes) == 1 for hashes in now.values()), "one config was rehashed in two ways"


def test_every_table_says_what_the_images_are():
    tables = 0
    for readme in sorted(ROOT.glob("configs/*/README.md")):
        before = ""  # the table, since the last heading or table
        for line in readme.read_text(encoding="utf-8").splitlines():
            if line.startswith("<!-- results") and line.endswith(":begin -->"):
                tables += 1
                said = any(words in before for words in ("JPEG files of quality", "NIfTI files"))
                assert said, f"{readme}: {line}: say which files the images are"
            before = "" if line.startswith(("#", "<!-- results")) else before + line
    assert tables >= 7
