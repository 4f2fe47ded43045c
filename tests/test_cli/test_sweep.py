"""mmlandmark sweep: variants of one config, each recorded once."""

from __future__ import annotations

import json
import shutil

import pytest

from mmlandmark import apis
from mmlandmark.cli import invoke
from mmlandmark.engine import load_config
from mmlandmark.testing import tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint
from two_processes import begin, ended, need_two_processes


@pytest.mark.slow
def test_runs_what_is_missing_and_nothing_else(sweep, tmp_path, capfd):
    work = tmp_path / "work"
    invoke("sweep", [str(sweep), "--seeds", "0", "--work-dir", str(work)])
    folder = tmp_path / "results" / "losses"
    records = {p.name: json.loads(p.read_text()) for p in folder.iterdir()}
    assert set(records) == {"ewc_seed0.json", "mse_seed0.json", "argmax_seed0.json"}
    assert records["ewc_seed0.json"]["config_hash"] != records["mse_seed0.json"]["config_hash"]
    assert records["mse_seed0.json"]["seed"] == 0
    assert "HeatmapMSELoss" in (work / "mse_seed0" / "tiny.py").read_text()
    assert {p.name for p in work.iterdir()} == {"ewc_seed0", "mse_seed0"}  # argmax has no training of its own
    argmax, mse = records["argmax_seed0.json"], records["mse_seed0.json"]
    assert argmax["metrics"]["mre"] != mse["metrics"]["mre"]
    before = (folder / "mse_seed0.json").stat().st_mtime_ns
    invoke("sweep", [str(sweep), "--seeds", "0", "--work-dir", str(work)])
    assert (folder / "mse_seed0.json").stat().st_mtime_ns == before
    capfd.readouterr()
    invoke("sweep", [str(sweep), "--list"])
    states = [line.split()[:2] for line in capfd.readouterr().out.splitlines()]
    assert states[1:] == [
        ["ewc_seed0", "finished"],
        ["mse_seed0", "finished"],
        ["ewc_seed1", "to"],
        ["mse_seed1", "to"],
        ["both", "to"],
    ]
    invoke("sweep", [str(sweep), "--arms", "argmax", "--work-dir", str(work)])
    both = json.loads((folder / "both.json").read_text())
    assert both["seeds"] == [0, 1]
    tested = load_config(work / "both" / "both.py")
    assert [m.head.loss.type for m in tested.model.detectors] == ["HeatmapMSELoss"] * 2
    changed = sweep.read_text().replace("_delete_=True, type='HeatmapMSELoss'", "alpha=2")
    sweep.write_text(changed)
    (folder / "mse_seed1.json").unlink(missing_ok=True)
    with pytest.raises(ValueError, match=r"both\.json is the result of another config"):
        invoke("sweep", [str(sweep), "--arms", "mse", "--seeds", "1", "--work-dir", str(work)])
    (folder / "both.json").unlink()
    with pytest.raises(ValueError, match=r"mse_seed[01] holds a run with other values"):
        invoke("sweep", [str(sweep), "--arms", "mse", "--seeds", "1", "--work-dir", str(work)])


@pytest.mark.slow
def test_two_processes_run_the_arms_together_and_record_each_once(sweep, tmp_path):
    """A test of their checkpoints in one process finds what they have recorded."""
    need_two_processes()
    work = tmp_path / "work"
    words = [sweep, "--arms", "ewc", "argmax", "--seeds", "0", "--work-dir", work]
    with ended(begin("sweep", *words, cwd=tmp_path)) as process:
        code = process.wait(500)
    assert code == 0, (tmp_path / "said").read_text()[-3000:]
    folder = tmp_path / "results" / "losses"
    assert {path.name for path in folder.iterdir()} == {"ewc_seed0.json", "argmax_seed0.json"}
    assert load_checkpoint(work / "ewc_seed0" / "epoch_1.pth")["meta"]["iter"] == 1  # 4 images, 2 x 2
    record = json.loads((folder / "ewc_seed0.json").read_text())
    given = load_config(work / "ewc_seed0" / "tiny.py")
    given.launcher = "none"
    alone = apis.test_config(given, work / "ewc_seed0" / "epoch_1.pth", out_dir=tmp_path / "alone")
    assert record["metrics"] == alone, "to the last digit"


@pytest.mark.slow
def test_one_arm_teaches_another(tmp_path):
    tiny_config("unused", max_epochs=1).dump(tmp_path / "tiny.py")
    (tmp_path / "sweeps").mkdir()
    path = tmp_path / "sweeps" / "kd.py"
    path.write_text(
        "config = '../tiny.py'\nseeds = [0, 1]\n"
        "term = dict(loss=dict(type='AttentionMapLoss'), pairs=[('backbone.up1', 'backbone.up2')])\n"
        "arms = {\n"
        "    'large': {'model.backbone.widths': (8, 8, 16)},\n"
        "    'taught': {'inputs': {'teacher': 'large'}, 'model.type': 'DistilledDetector',\n"
        "               'model.terms': [term],\n"
        "               'custom_hooks': [dict(type='TeacherHook')]},\n"
        "}\n"
    )
    work = tmp_path / "work"
    folder = tmp_path / "results" / "kd"
    # A student alone: its teacher is trained for it, though not tested.
    invoke("sweep", [str(path), "--arms", "taught", "--seeds", "0", "--work-dir", str(work)])
    assert [p.name for p in folder.iterdir()] == ["taught_seed0.json"]
    invoke("sweep", [str(path), "--work-dir", str(work)])
    records = {p.stem: json.loads(p.read_text()) for p in folder.iterdir()}
    assert sorted(records) == ["large_seed0", "large_seed1", "taught_seed0", "taught_seed1"]
    for seed in (0, 1):
        config = load_config(work / f"taught_seed{seed}" / "tiny.py")
        assert config.model.teacher.checkpoint == str(work / f"large_seed{seed}" / "epoch_1.pth")
    # Runs of one arm differ in the weights of their teachers only, and count as one config.
    assert records["taught_seed0"]["config_hash"] == records["taught_seed1"]["config_hash"]
    assert str(tmp_path) not in json.dumps(records["taught_seed0"])

    # A student of another teacher is another student.
    path.write_text(path.read_text().replace("(8, 8, 16)", "(8, 8, 8)"))
    shutil.rmtree(work / "large_seed0")
    (folder / "taught_seed0.json").unlink()
    with pytest.raises(ValueError, match="taught_seed0 holds a run with other values"):
        invoke("sweep", [str(path), "--arms", "taught", "--seeds", "0", "--work-dir", str(work)])


def test_unknown_arms_are_named(sweep):
    with pytest.raises(ValueError, match=r"no arms \['l1'\]; it has \['argmax', 'ewc', 'mse'\]"):
        invoke("sweep", [str(sweep), "--arms", "l1"])
    with pytest.raises(FileNotFoundError, match="does not exist"):
        invoke("sweep", [str(sweep.parent / "other.py")])
