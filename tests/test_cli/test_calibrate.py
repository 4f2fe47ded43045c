"""``mmlandmark calibrate``: what it prints, writes and refuses."""

from __future__ import annotations

import json

import pytest

from mmlandmark.cli import invoke
from mmlandmark.evaluation import Calibration
from mmlandmark.inference.loading import load_model


@pytest.fixture(scope="module")
def test_folders(trained, tmp_path_factory):
    """Two tests of the trained run, on patients of their own; there are as many folders."""
    folders = []
    for first in (300, 400):
        folder = tmp_path_factory.mktemp("tests") / "run"
        options = ["test_dataloader.dataset.num_samples=12", f"test_dataloader.dataset.offset={first}"]
        checkpoint = str(trained.folder / "epoch_1.pth")
        words = [str(trained.config), checkpoint, "--work-dir", str(folder), "--no-figures"]
        invoke("test", [*words, "--cfg-options", *options])
        folders.append(next(folder.rglob("predictions.json")).parent)
    return folders


@pytest.mark.slow
def test_calibrate_then_evaluate(mmlandmark_command, trained, test_folders, tmp_path, assert_one_line):
    first, second = test_folders
    out = tmp_path / "spine.mml.pth"
    done = mmlandmark_command("calibrate", trained.folder, first, "--evaluate", second, "-o", out)
    assert done.returncode == 0, done.stderr
    assert "radius 90%" in done.stdout
    assert "| all" in done.stdout
    calibration = Calibration.from_dict(load_model(out).calibration)
    assert calibration.levels == (0.9, 0.95)
    assert calibration.about["images"] == 12
    assert load_model(out).measured[f"coverage on {second.parent.name}/{second.name}"]["images"] == 12
    report = json.loads((tmp_path / "spine_coverage" / "coverage.json").read_text())
    assert report["overall"]["points"] == 12 * 68
    assert (tmp_path / "spine_coverage" / "coverage.png").is_file()

    before = out.read_bytes()
    done = mmlandmark_command("calibrate", out, "--evaluate", second, "--report", tmp_path / "again")
    assert json.loads((tmp_path / "again" / "coverage.json").read_text()) == report
    assert out.read_bytes() == before
    done = mmlandmark_command("calibrate", out, second, "--levels", "0.8", "--kind", "elliptic")
    assert done.returncode == 0, done.stderr
    changed = Calibration.from_dict(load_model(out).calibration)
    assert changed.levels == (0.8,)
    assert changed.region_kind == "elliptic"
    # What the calibration before it held is no result of this one.
    assert not [name for name in load_model(out).measured if name.startswith("coverage")]
    again = mmlandmark_command("calibrate", out, "--evaluate", second)
    assert_one_line(again, "calibrated on 12 of these 12 images")


def test_what_is_missing_is_named(mmlandmark_command, trained, test_folders, tmp_path, assert_one_line):
    assert_one_line(mmlandmark_command("calibrate", trained.folder), "nothing to do: give DATA")
    done = mmlandmark_command("calibrate", trained.folder, test_folders[0])
    assert_one_line(done, "is no model file (*.mml.pth) that could be replaced: name one to write with -o")
    done = mmlandmark_command(
        "calibrate", trained.folder, "--evaluate", test_folders[0], "--report", tmp_path / "r"
    )
    assert_one_line(done, "is not calibrated")
    done = mmlandmark_command(
        "calibrate", trained.folder, test_folders[0], "-o", "m.mml.pth", "--levels", "90"
    )
    assert_one_line(done, "a level is a probability between 0 and 1, such as 0.9, got 90")
    assert not (tmp_path / "m.mml.pth").exists()
    (tmp_path / "wings.tps").write_text("LM=1\n1 2\nIMAGE=a.png\n")
    done = mmlandmark_command("calibrate", trained.folder, "wings.tps", "-o", "m.mml.pth")
    assert_one_line(
        done, "wings.tps: this is neither an annotation", "mmlandmark convert wings.tps", "--to json"
    )


def test_images_of_the_training_need_a_word(mmlandmark_command, trained, tmp_path, assert_one_line):
    config = tmp_path / "seen.py"
    config.write_text(
        f"_base_ = [{str(trained.config)!r}]\ntest_dataloader = dict(dataset=dict(offset=0, num_samples=4))\n"
    )
    words = ["calibrate", trained.folder, config, "-o", tmp_path / "m.mml.pth"]
    assert_one_line(mmlandmark_command(*words), "was trained on 4 of these 4 images", "--allow-seen")
    done = mmlandmark_command(*words, "--allow-seen")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "m.mml.pth").is_file()
