"""mmlandmark pack: one file that every command takes in place of a config and a checkpoint."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmlandmark.cli import invoke
from mmlandmark.inference import LandmarkInferencer
from mmlandmark.models.model_file import ModelFile
from mmlandmark.trust import strings_in
from mmlandmark.utils.checkpoint import load_checkpoint, save_checkpoint
from mmlandmark.utils.files import read_json


def call(*words: object) -> None:
    invoke(str(words[0]), [str(word) for word in words[1:]])


@pytest.fixture(scope="module")
def packed(trained, tmp_path_factory):
    """Test a copy of the trained run, then pack it: in single and in half precision."""
    root = tmp_path_factory.mktemp("packed")
    run = root / "spine"
    # Without results of other tests, beside which a test would write its own.
    shutil.copytree(trained.folder, run, ignore=shutil.ignore_patterns("test*"))
    call("test", trained.config, "--work-dir", run, "--no-figures")
    full, half = root / "full.mml.pth", root / "half.mml.pth"
    call("pack", run, "-o", full)
    call("pack", run, "-o", half, "--half", "--name", "spine68", "--licence", "research use")
    return SimpleNamespace(root=root, run=run, full=full, half=half, config=trained.config)


def points_of(folder):
    cases = json.loads((folder / "predictions.json").read_text())["cases"]
    return {case["sample_id"]: case["pred"] for case in cases}


def test_the_one_file_gives_the_very_numbers_of_config_and_checkpoint(packed, tmp_path, capsys):
    call("test", packed.full, "--work-dir", tmp_path / "out", "--no-figures")
    assert points_of(tmp_path / "out" / "test") == points_of(packed.run / "test")
    reports = [read_json(folder / "test" / "report.json") for folder in (tmp_path / "out", packed.run)]
    tested = [report.pop("tested") for report in reports]
    assert reports[0] == reports[1]
    assert tested[0] == str(packed.full)
    assert "results are in" in capsys.readouterr().out


def test_what_is_inside(packed, capsys):
    call("pack", packed.half)
    printed = capsys.readouterr().out
    assert "68 in 2D, aasce2019_spine" in printed.replace("spine_aasce2019", "aasce2019_spine")
    for part in (
        "spine68",
        "research use",
        "64 x 64",
        "LandmarkDetector: UNet, HeatmapHead",
        "seed 7, epoch 1",
    ):
        assert part in printed, part
    assert "PhantomDataset, 4 images: mre" in printed
    assert "half precision" in printed
    assert "largest difference" in printed
    model = ModelFile.load(packed.half)
    report = json.loads((packed.run / "test" / "report.json").read_text())
    assert model.measured["test"]["mre"] == report["overall"]["mre"]
    assert len(model.measured["test"]["landmarks"]) == 68
    assert 0 < model.measured["half precision"]["largest_difference"] < 1
    assert model.training["seed"] == 7


def test_half_precision_is_smaller_and_computes_in_single(packed, tmp_path):
    assert packed.half.stat().st_size < 0.75 * packed.full.stat().st_size
    call("test", packed.half, "--work-dir", tmp_path, "--no-figures")
    near, exact = points_of(tmp_path / "test"), points_of(packed.run / "test")
    moved = torch.tensor([near[key] for key in exact]) - torch.tensor([exact[key] for key in exact])
    largest = ModelFile.load(packed.half).measured["half precision"]["largest_difference"]
    assert moved.norm(dim=-1).max().item() == pytest.approx(largest, abs=1e-3)


def test_config_and_checkpoint_or_the_folder_alone(packed, tmp_path):
    call(
        "pack", packed.config, packed.run / "epoch_1.pth", "-o", tmp_path / "a.pth", "--work-dir", packed.run
    )
    one, other = ModelFile.load(tmp_path / "a.pth"), ModelFile.load(packed.full)
    assert one.config == other.config
    assert all(torch.equal(one.state_dict[key], value) for key, value in other.state_dict.items())
    assert (one.name, other.name) == ("unet_tiny", "spine")
    assert one.training["config"] == other.training["config"] == "unet_tiny"
    # How it was trained, not how the config is now.
    assert one.training["config_hash"] == other.training["config_hash"]


def test_an_ensemble_takes_folders_and_files(packed, tmp_path):
    call("ensemble", packed.run, packed.full, packed.half, "--out", tmp_path / "both")
    report = json.loads((tmp_path / "both" / "test" / "report.json").read_text())
    assert report["overall"]["images"] == 4
    call("pack", tmp_path / "both", "-o", tmp_path / "both.mml.pth")
    mean = ModelFile.load(tmp_path / "both.mml.pth")
    assert mean.config["model"]["type"] == "MixedEnsemble"
    assert mean.training["seeds"] == [7, 7, 7]
    assert mean.training["members"] == ["spine", "full.mml.pth", "half.mml.pth"]
    assert not any(str(tmp_path) in text for _, text in strings_in([mean.config, mean.training]))
    call("test", tmp_path / "both.mml.pth", "--work-dir", tmp_path / "again", "--no-figures")
    assert points_of(tmp_path / "again" / "test") == points_of(tmp_path / "both" / "test")


def test_a_class_of_another_package_is_noted_and_needs_trust(packed, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("MMLANDMARK_TRUST", raising=False)
    model = ModelFile.load(packed.full)
    pipeline = [*model.config["pipeline"]]
    pipeline.insert(1, dict(type="RandomApply", transforms=[], prob=0.0))
    foreign = replace(model, config=model.config | dict(pipeline=pipeline))
    foreign.save(tmp_path / "a.pth")
    with pytest.raises(ValueError, match="--trust mmcv"):
        ModelFile.load(tmp_path / "a.pth")
    monkeypatch.setenv("MMLANDMARK_TRUST", "mmcv")
    call("pack", tmp_path / "a.pth")
    assert "note:" not in capsys.readouterr().out
    shutil.copytree(packed.run, tmp_path / "run")
    config = read_json(tmp_path / "run" / "config.json")
    config["test_dataloader"]["dataset"]["pipeline"] = pipeline
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    monkeypatch.delenv("MMLANDMARK_TRUST")
    call("pack", tmp_path / "run")
    assert "note: loading the file needs trust: pipeline.1.type: 'RandomApply'" in capsys.readouterr().out


def test_other_commands_take_the_file(packed, tmp_path, capsys):
    call("flops", packed.full, "--rounds", 0)
    assert "full.mml: one image of 1 x 64 x 64" in capsys.readouterr().out
    call("print-config", packed.full)
    assert "test_dataloader" in capsys.readouterr().out
    call("draw-figures", "features", packed.full, f"run={packed.run}", "--out", tmp_path / "features.png")
    call("draw-figures", "loss-weights", packed.full, "--out", tmp_path / "weights.png")
    assert {path.name for path in tmp_path.iterdir()} == {"features.png", "weights.png"}


@pytest.mark.parametrize("which", ["full", "half"])
def test_a_training_starts_from_the_file(packed, tmp_path, which):
    start = getattr(packed, which)
    options = [
        "train_cfg.max_epochs=1",
        "optim_wrapper.optimizer.lr=0",
        "param_scheduler=None",
        f"load_from={start}",
    ]
    call("train", packed.config, "--work-dir", tmp_path, "--cfg-options", *options)
    kernels = {key: value for key, value in ModelFile.load(start).state_dict.items() if value.ndim > 1}
    trained = load_checkpoint(tmp_path / "epoch_1.pth")["state_dict"]
    assert all(torch.equal(trained[key], value) for key, value in kernels.items())


def test_what_it_is_not_for(packed, mmlandmark_command, assert_one_line, tmp_path):
    done = mmlandmark_command("train", packed.full)
    assert_one_line(done, "is a trained detector", "load_from=FILE")
    done = mmlandmark_command("train", packed.config, "--resume", packed.full)
    assert_one_line(done, "cannot be resumed")
    done = mmlandmark_command("test", packed.full, "--record")
    assert_one_line(done, "has no place for records")
    done = mmlandmark_command("test", packed.run / "epoch_1.pth")
    assert_one_line(done, "is no model file")
    done = mmlandmark_command("pack", packed.full, "last")
    assert_one_line(done, "takes no checkpoint")
    done = mmlandmark_command("pack", "ceph20")
    assert_one_line(done, "no detector of that name")
    done = mmlandmark_command("pack", packed.run, "-o", tmp_path / "a.bin")
    assert_one_line(done, "must end with .pth")


def test_files_that_must_not_be_loaded_end_every_command_in_one_line(
    packed, mmlandmark_command, assert_one_line, tmp_path
):
    content = load_checkpoint(packed.full)
    config = json.loads(content["config"])
    config["model"]["backbone"]["init_cfg"] = dict(type="Pretrained", checkpoint="https://example.org/a.pth")
    save_checkpoint(content | dict(config=json.dumps(config)), tmp_path / "download.pth")
    config["model"]["backbone"] = dict(type="os.system", command="touch was_run")
    save_checkpoint(content | dict(config=json.dumps(config)), tmp_path / "program.pth")
    (tmp_path / "cut.pth").write_bytes(packed.full.read_bytes()[:-500])
    said = dict(download="names something beside", program="package 'os'", cut="damaged")
    for name, part in said.items():
        for command in ("pack", "test", "flops"):
            assert_one_line(mmlandmark_command(command, tmp_path / f"{name}.pth"), f"{name}.pth", part)
    assert not (tmp_path / "was_run").exists()


def test_a_record_says_where_the_weights_come_from(packed, tmp_path):
    record = tmp_path / "record.json"
    call("test", packed.full, "--work-dir", tmp_path / "out", "--no-figures", "--record", record)
    content = json.loads(record.read_text())
    assert (content["seed"], content["epoch"], content["trained_on"]["images"]) == (7, 1, 4)


def test_landmarks_of_another_order_are_refused(packed, tmp_path, mmlandmark_command, assert_one_line):
    content = load_checkpoint(packed.full)
    schema = json.loads(content["schema"])
    schema["landmarks"] = schema["landmarks"][::-1]
    save_checkpoint(content | dict(schema=json.dumps(schema)), tmp_path / "b.pth")
    done = mmlandmark_command("test", packed.config, tmp_path / "b.pth")
    assert_one_line(done, "was trained for other landmarks", "in another order")


def test_results_of_a_test_elsewhere_are_taken_along(packed, tmp_path, mmlandmark_command, assert_one_line):
    call("test", packed.half, "--work-dir", tmp_path / "elsewhere", "--no-figures")
    call("pack", packed.half, "-o", tmp_path / "known.mml.pth", "--tested", tmp_path / "elsewhere" / "test")
    assert ModelFile.load(tmp_path / "known.mml.pth").measured["test"]["images"] > 0
    done = mmlandmark_command("pack", packed.half, "--tested", tmp_path)
    assert_one_line(done, "holds no report.json")
    predictions = tmp_path / "elsewhere" / "test" / "predictions.json"
    content = read_json(predictions)
    predictions.write_text(json.dumps(content | dict(origin=content["origin"] | dict(weights="0"))))
    done = mmlandmark_command("pack", packed.half, "--tested", predictions.parent)
    assert_one_line(done, "report.json is about other weights than those of model")
    del content["origin"]
    predictions.write_text(json.dumps(content))
    done = mmlandmark_command("pack", packed.half, "--tested", predictions.parent)
    assert done.returncode == 0
    assert "does not say which weights were tested (report.json)" in done.stdout


def test_another_schema_brings_measures(packed, tmp_path, mmlandmark_command, assert_one_line):
    schema = ModelFile.load(packed.half).schema.to_dict()
    first, last = schema["landmarks"][0], schema["landmarks"][-1]
    schema["measures"] = [dict(name="length", kind="distance", points=[first, last])]
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps(schema))
    call("pack", packed.half, "-o", tmp_path / "mine.mml.pth", "--schema", mine)
    assert [measure["name"] for measure in ModelFile.load(tmp_path / "mine.mml.pth").schema.measures] == [
        "length"
    ]
    image = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    (prediction,) = LandmarkInferencer(tmp_path / "mine.mml.pth")(image)
    (length,) = prediction.measures
    reach = np.linalg.norm(prediction.points[-1] - prediction.points[0])
    assert (length.name, length.value) == ("length", pytest.approx(reach, rel=1e-5))

    (tmp_path / "turned.json").write_text(json.dumps(dict(schema, landmarks=schema["landmarks"][::-1])))
    done = mmlandmark_command("pack", packed.half, "-o", "no.mml.pth", "--schema", "turned.json")
    assert_one_line(done, "--schema turned.json: it must name the landmarks", "in another order")
    done = mmlandmark_command("pack", packed.half, "-o", "no.mml.pth", "--schema", "aariz")
    assert_one_line(done, "--schema aariz: it must name the landmarks", "in the same order: ")
    assert not (tmp_path / "no.mml.pth").exists()
