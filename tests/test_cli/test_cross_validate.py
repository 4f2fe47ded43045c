"""mmlandmark cross-validate: folds of phantoms, and of nine real hands with phantoms."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mmlandmark import apis
from mmlandmark.cli import invoke
from mmlandmark.engine import ConfigError, load_config
from mmlandmark.testing import phantom_dataloader, tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint
from two_processes import in_two, need_nodes, nodes_by_namespaces, on_two_nodes, same_weights

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = tiny_config("unused", max_epochs=1)
    found.train_dataloader.dataset.split = "train"
    for loader in (found.val_dataloader, found.test_dataloader):
        loader.dataset.offset = 0
    found.pop("work_dir")
    found.dump(tmp_path / "tiny.py")
    return tmp_path / "tiny.py"


def test_lists_runs_and_records(config, tmp_path, capsys):
    invoke("cross-validate", [str(config), "--num-folds", "2", "--list"])
    states = [line.split() for line in capsys.readouterr().out.splitlines()[-2:]]
    assert states == [["fold_0", "to", "do"], ["fold_1", "to", "do"]]
    assert not (tmp_path / "work_dirs").exists()
    invoke("cross-validate", [str(config), "--num-folds", "2", "--seed", "3", "--record"])
    out = capsys.readouterr().out
    assert "| mean of folds |" in out
    work = tmp_path / "work_dirs" / "tiny_cv"
    assert (work / "cross_validation.md").read_text() in out
    folds = json.loads((work / "cross_validation.json").read_text())
    record = json.loads((tmp_path / "results" / "tiny_cv2_seed3.json").read_text())
    assert (record["config"], record["seed"], record["split"]["images"]) == ("tiny_cv2", 3, 4)
    assert record["folds"] == folds["folds"]
    assert record["metrics"] == folds["pooled"]
    assert record["deal"] == dict(num_folds=2, fold_seed=0)
    assert len(record["image_errors"]["mean"]) == 4


def test_folds_lie_beside_the_training_of_a_config_with_a_folder_of_its_own(config, monkeypatch):
    found, plan_of_folds = [], apis.plan_of_folds
    monkeypatch.setattr(apis, "plan_of_folds", lambda *given: found.append(given[1]) or plan_of_folds(*given))
    config.write_text(config.read_text() + '\nwork_dir = "mine/run"\n')
    words = [str(config), "--num-folds", "2", "--list"]
    invoke("cross-validate", words)
    invoke("cross-validate", [*words, "--work-dir", "elsewhere"])
    assert found == ["mine/run_cv", "elsewhere"]


def test_what_does_not_go_together_is_refused(config):
    with pytest.raises(ConfigError, match="--record without a file is for all folds"):
        invoke("cross-validate", [str(config), "--num-folds", "2", "--folds", "0", "--record"])
    with pytest.raises(ConfigError, match="--record without a file is for all folds"):
        invoke("cross-validate", [str(config), "--num-folds", "2", "--fold-seed", "1", "--record"])
    with pytest.raises(ConfigError, match="--all-splits and --group-pattern need --num-folds"):
        invoke("cross-validate", [str(config), "--all-splits"])
    with pytest.raises(ValueError, match="has no folds; give num_folds"):
        invoke("cross-validate", [str(config)])


@pytest.mark.slow
@pytest.mark.real_data
def test_three_folds_of_nine_real_hands_and_phantoms(real_data, tmp_path, monkeypatch, capsys):
    """The published lists of the hands that come with images; phantoms are added to every training."""
    monkeypatch.chdir(tmp_path)
    found = tiny_config("unused", max_epochs=1)
    found.pop("work_dir")
    found.model.head.num_landmarks = 37
    pipeline = [
        dict(type="LoadImage", size=(128, 128), keep_aspect=True, channels=1),
        dict(type="Resize", size=(64, 64), keep_aspect=True),
        dict(type="Resample"),
        dict(type="PackInputs"),
    ]
    hands = dict(
        type="DigitalHandAtlas",
        data_root=str(real_data("hand_dha")),
        fold_dir="cv_reduced",
        fold=1,
        pipeline=pipeline,
    )
    phantoms = phantom_dataloader(37, num_samples=4)["dataset"]
    found.train_dataloader.dataset = dict(
        type="ConcatDataset", datasets=[dict(hands, split="train"), phantoms]
    )
    for loader in (found.val_dataloader, found.test_dataloader):
        loader.dataset = dict(hands, split="test", test_mode=True)
    wrists = [
        dict(type="LandmarkMetric", reference=dict(pair=(0, 4), mm=50.0), radii=(2, 4, 10)),
        dict(type="LandmarkMetric", reference=dict(pair=(1, 5), mm=50.0), radii=(2, 4, 10), prefix="pair15"),
    ]
    found.val_evaluator = found.test_evaluator = wrists
    found.dump(tmp_path / "hands.py")
    invoke("cross-validate", ["hands.py", "--record", "hands.json"])
    out = capsys.readouterr().out
    report = json.loads((tmp_path / "work_dirs" / "hands_cv" / "cross_validation.json").read_text())
    assert report["images"] == {"1": 3, "2": 3, "3": 3}
    assert report["pooled"]["num_images"] == 9
    assert report["pooled"]["mre"] != report["pooled"]["pair15/mre"]
    assert "Errors in mm, distance of landmarks 0 and 4 (counted from 0) = 50 mm." in out
    assert "**pair15** Errors in mm, distance of landmarks 1 and 5" in out
    assert "EDR 10 mm" in out
    pooled = (tmp_path / "work_dirs" / "hands_cv" / "pooled" / "report.md").read_text()
    assert "distance of landmarks 0 and 4 (counted from 0) = 50 mm" in pooled


def test_ranks_of_one_group_report_what_one_process_finds(config, tmp_path):
    """Two ranks train and test every fold together; a test of their checkpoints alone finds the same."""
    words = [str(config), "--num-folds", "2", "--work-dir", str(tmp_path / "two")]
    in_two(invoke, "cross-validate", [*words, "--cfg-options", "test_dataloader.batch_size=1"])
    report = json.loads((tmp_path / "two" / "cross_validation.json").read_text())
    assert report["pooled"]["num_images"] == 4
    for fold in ("0", "1"):
        folder = tmp_path / "two" / f"fold_{fold}"
        given = load_config(folder / "tiny.py")
        given.launcher = "none"
        apis.test_config(given, folder / "epoch_1.pth", out_dir=tmp_path / fold)
        files = (folder / "test" / "predictions.json", tmp_path / fold / "predictions.json")
        ours, theirs = (json.loads(path.read_text())["cases"] for path in files)
        assert len(ours) == 2
        assert ours == theirs


@pytest.mark.slow
@nodes_by_namespaces
def test_two_nodes_find_what_one_node_finds(config, tmp_path, namespaces):
    """Folds of eight images, two steps: weights and errors are the same, bit by bit."""
    need_nodes(namespaces)
    found = load_config(config)
    for loader in (found.train_dataloader, found.val_dataloader, found.test_dataloader):
        loader.dataset.num_samples = 16
    found.dump(config)
    words = [str(config), "--num-folds", "2", "--work-dir"]
    in_two(invoke, "cross-validate", [*words, str(tmp_path / "one")])
    done = on_two_nodes("cross-validate", *words, tmp_path / "two", cwd=tmp_path, namespaces=namespaces)
    assert done.returncode == 0, done.stderr[-3000:]
    for fold in ("fold_0", "fold_1"):
        paths = [tmp_path / name / fold / "epoch_1.pth" for name in ("one", "two")]
        same_weights(*paths)
        assert [load_checkpoint(path)["meta"]["iter"] for path in paths] == [2, 2]
    one, two = (
        json.loads((tmp_path / name / "cross_validation.json").read_text()) for name in ("one", "two")
    )
    assert one["pooled"]["num_images"] == 16
    assert one == two


@pytest.mark.slow
def test_two_processes_share_the_folds_and_one_is_killed(config, tmp_path, capsys):
    shared = tmp_path / "shared"
    words = [str(config), "--num-folds", "3", "--work-dir", str(shared)]
    environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")
    other = subprocess.Popen([sys.executable, "-m", "mmlandmark", "cross-validate", *words], env=environment)

    def wait_for_a_fold_of(process):
        deadline = time.monotonic() + 240
        owners = set()
        while process not in owners:
            assert time.monotonic() < deadline
            time.sleep(0.01)
            for lock in shared.glob("fold_*/run.lock"):
                with contextlib.suppress(FileNotFoundError):
                    owners.add(json.loads(lock.read_text())["pid"])

    def kill_the_other():
        wait_for_a_fold_of(os.getpid())
        other.kill()
        other.wait()

    wait_for_a_fold_of(other.pid)
    other.send_signal(signal.SIGSTOP)  # in the middle of its fold, while this process takes the next one
    killer = threading.Thread(target=kill_the_other)
    killer.start()
    invoke("cross-validate", words)
    killer.join()
    assert other.returncode == -signal.SIGKILL
    invoke("cross-validate", [str(config), "--num-folds", "3", "--work-dir", str(tmp_path / "alone")])
    reports = [
        json.loads((tmp_path / name / "cross_validation.json").read_text()) for name in ("shared", "alone")
    ]
    assert reports[0] == reports[1]
    assert not list(shared.rglob("run.lock*"))
    invoke("cross-validate", [str(config), "--num-folds", "3", "--work-dir", str(shared), "--list"])
    states = [line.split()[1] for line in capsys.readouterr().out.splitlines()[-3:]]
    assert states == ["finished"] * 3
