"""Records say where a number came from."""

from __future__ import annotations

import json
import subprocess

import numpy as np
import pytest
from mmengine.config import Config

from mmlandmark.evaluation import record as records
from mmlandmark.evaluation.record import git_commit, record_results, running_commit, split_hash


def test_record_holds_all_that_is_needed(tmp_path):
    path = tmp_path / "results" / "unet_seed1.json"
    (tmp_path / "unet_tiny.py").write_text("lr = 0.1\n")
    cfg = Config.fromfile(tmp_path / "unet_tiny.py")
    written = record_results(
        path, {"mre": np.float64(1.5), "sdr_2mm": float("nan")}, cfg, 1, sample_ids=["b", "a"], note="x"
    )
    assert json.loads(path.read_text()) == written
    assert written["config"] == "unet_tiny"
    assert written["metrics"] == {"mre": 1.5, "sdr_2mm": None}
    assert (written["seed"], written["note"]) == (1, "x")
    assert written["split"] == {"images": 2, "hash": split_hash(["a", "b"])}
    assert set(written["versions"]) == {"mmlandmark", "python", "torch", "mmengine", "mmcv", "numpy"}
    assert written["versions"]["numpy"] == np.__version__
    assert written["machine"]["cpu"]
    assert written["machine"]["cores"] >= 1
    assert "gpu" in written["machine"]
    assert written["date"].endswith("+00:00")


def test_record_refuses(tmp_path):
    with pytest.raises(ValueError, match="no metrics"):
        record_results(tmp_path / "x.json", {}, {}, 0, config_name="a")
    with pytest.raises(ValueError, match="config_name"):
        record_results(tmp_path / "x.json", {"mre": 1.0}, {"lr": 1}, 0)
    assert not list(tmp_path.iterdir())


def test_split_hash_sees_cases_and_truth_but_not_order():
    points = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    assert split_hash(["a", "b"], points) == split_hash(["b", "a"], points[::-1])
    assert split_hash(["a", "b"]) != split_hash(["a", "c"])
    missing = points.copy()
    missing[0, 0] = np.nan
    assert len({split_hash(["a", "b"], p) for p in (None, points, points + 1, missing)}) == 4


def test_git_commit(tmp_path):
    def git(*args):
        who = ("-c", "user.name=n", "-c", "user.email=e@x", "-c", "commit.gpgsign=false")
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *who, *args], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    assert git_commit(tmp_path) is None
    git("init", "-q")
    (tmp_path / "file").write_text("1")
    assert git_commit(tmp_path) is None
    git("add", "file")
    git("commit", "-q", "-m", "m")
    commit = git("rev-parse", "HEAD")
    assert git_commit(tmp_path) == commit
    (tmp_path / "file").write_text("2")
    assert git_commit(tmp_path) == f"{commit}-dirty"
    (tmp_path / "untracked").mkdir()
    (tmp_path / "untracked" / "package.py").write_text("")
    assert git_commit(tmp_path / "untracked") is None


def test_a_record_has_the_commit_that_its_process_began_with(tmp_path, monkeypatch):
    """Someone may commit while a long run goes on."""
    running_commit.cache_clear()
    monkeypatch.setattr(records, "git_commit", lambda: "first")
    running_commit()
    monkeypatch.setattr(records, "git_commit", lambda: "second")
    record = record_results(tmp_path / "a.json", {"mre": 1.0}, {}, 0, config_name="a")
    running_commit.cache_clear()
    assert record["commit"] == "first"
