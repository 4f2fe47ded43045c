"""Models of single landmarks are trained, and come together."""

import json
import multiprocessing
import shutil

import pytest
import torch

from mmlandmark import apis
from mmlandmark.apis import check_trained_as, find_checkpoint, prepare_config, train_config
from mmlandmark.apis import tested_run as runs
from mmlandmark.cli import invoke
from mmlandmark.engine import (
    ConfigError,
    choose_landmarks,
    join_landmarks,
    latest_checkpoint,
    plan_of_run,
    state_of,
)
from mmlandmark.engine.joined_landmarks import JoinStep
from mmlandmark.inference import LandmarkInferencer
from mmlandmark.inference.loading import load_model
from mmlandmark.testing import kills
from mmlandmark.testing.kill_methods import training
from mmlandmark.utils.checkpoint import load_checkpoint, save_checkpoint
from test_engine.test_per_landmark import NAMES, each


def frozen(folder, **overrides):
    """Return a config of three landmarks on one frozen encoder."""
    backbone = dict(
        _delete_=True, type="VGG", depth=16, widths=(4, 4, 4, 4, 4), in_channels=1, out_indices=(1,)
    )
    model = dict(backbone=dict(backbone, frozen_stages=1))
    hook = dict(checkpoint=dict(save_best="mre", rule="less"))
    return each(folder, max_epochs=1, model=model, default_hooks=hook, **overrides)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("each")
    train_config(frozen(folder))
    return folder


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of what the training left."""
    shutil.copytree(trained, tmp_path / "run", copy_function=shutil.copy2)
    return tmp_path / "run"


def state_in(path):
    return load_checkpoint(path)["state_dict"]


def assert_same(one, other):
    expected, found = (state_in(folder / "detector.pth") for folder in (one, other))
    assert expected.keys() == found.keys()
    assert [key for key, value in expected.items() if not torch.equal(value, found[key])] == []


def test_a_training_ends_with_one_detector(trained):
    config = frozen(trained)
    plan = plan_of_run(config, trained)
    assert state_of(plan) == ("finished", "joined")
    path = find_checkpoint(config, None)
    assert path == trained / "detector" / "detector.pth" == latest_checkpoint(trained / "detector")
    state, meta = state_in(path), load_checkpoint(path)["meta"]
    own = [state_in(latest_checkpoint(node.folder)) for node in plan.children]
    # The encoder, which is frozen, is there once.
    assert {key for key in state if "backbone" in key} == {
        f"members.0.{key}" for key in own[0] if key.startswith("backbone.")
    }
    for index, weights in enumerate(own):
        for key, value in weights.items():
            same = torch.equal(value, state[f"members.{0 if 'backbone' in key else index}.{key}"])
            assert same, f"{key} of landmark {index}"
    assert not all(torch.equal(value, own[1][key]) for key, value in own[0].items())
    assert (meta["seed"], meta["epoch"], meta["members"]) == (0, 1, ["00_sella", "01_nasion", "02_menton"])
    assert list(meta["dataset_meta"]["landmark_names"]) == NAMES
    for place in (trained, trained / "elsewhere"):  # also before there is one
        assert runs.tested_run(frozen(place))[0].model.shared_backbone
    config = runs.tested_run(config)[0]
    assert (config.model.type, config.model.shared_backbone, "per_landmark" in config) == (
        "LandmarkwiseDetector",
        True,
        False,
    )


def test_one_test_finds_what_each_model_finds(trained, tmp_path):
    config = frozen(trained)
    metrics = apis.test_config(config, find_checkpoint(config, None), out_dir=tmp_path / "all")
    cases = json.loads((tmp_path / "all" / "predictions.json").read_text())
    assert cases["landmark_names"] == NAMES
    alone = [run.trained().metrics["mre"] for run in plan_of_run(config, trained).runs()]
    assert metrics["mre"] == pytest.approx(sum(alone) / 3)
    # And so does one model file, which brings all that it needs.
    model = load_model(trained / "detector")
    model.save(tmp_path / "one.mml.pth")
    inferencer = LandmarkInferencer(tmp_path / "one.mml.pth")
    assert list(inferencer.model.schema.landmarks) == NAMES
    assert sum(key.endswith("backbone.features.0.weight") for key in model.state_dict) == 1


def test_commands_take_it_for_one_run(folder, tmp_path, capfd):
    frozen("unused").dump(tmp_path / "each.py")
    words = [str(tmp_path / "each.py"), "--work-dir", str(folder)]
    invoke("train", [*words, "--list"])
    assert [line.split()[1] for line in capfd.readouterr().out.splitlines()] == ["finished"] * 4
    invoke("test", [*words, "--no-figures", "--record", str(tmp_path / "record.json")])
    record = json.loads((tmp_path / "record.json").read_text())
    assert (record["config"], record["seed"], record["members"][0]) == ("each", 0, "00_sella")
    invoke("test", [*words, "--no-figures", "--landmarks", "sella,2"])
    rows = [
        json.loads((folder / name / "test" / "report.json").read_text())
        for name in ("detector", "detector_0_2")
    ]
    assert [[row["name"] for row in report["landmarks"]] for report in rows] == [NAMES, ["sella", "menton"]]
    invoke("pack", [*words, "-o", str(tmp_path / "each.mml.pth")])
    assert load_model(tmp_path / "each.mml.pth").measured["test"]["mre"] == pytest.approx(
        record["metrics"]["mre"]
    )
    with pytest.raises(ConfigError, match="leave --stage out"):
        invoke("test", [*words, "--stage", "one"])
    with pytest.raises(ConfigError, match="per_landmark resumes by itself"):
        train_config(prepare_config(words[0]), resume="epoch_1.pth")


def test_missing_models_are_named(folder):
    config = frozen(folder)
    plan = plan_of_run(config, folder)
    (latest_checkpoint(folder / "01_nasion")).unlink()
    message = r"models of 1 of 3 landmarks: 'nasion'; .* --landmarks 1 trains them; --landmarks 0,2 takes"
    with pytest.raises(FileNotFoundError, match=message):
        join_landmarks(config, plan)
    assert not JoinStep(config).done(plan)
    for best in folder.glob("0*/best*"):
        best.unlink()
    with pytest.raises(FileNotFoundError, match=r"of 3 of 3 landmarks \(best ones: set save_best"):
        join_landmarks(config, plan, "best")
    choose_landmarks(config, "0,2")
    path = find_checkpoint(config, None)
    assert path == folder / "detector_0_2" / "detector.pth"
    run, where = runs.tested_run(config)
    assert (where, run.test_dataloader.dataset.landmarks) == (path.parent, ["sella", "menton"])
    metrics = apis.test_config(config, path, out_dir=folder / "two")
    assert metrics["mre"] > 0


def test_what_is_left_out_is_not_in_the_detector(folder):
    config = frozen(folder)
    plan = plan_of_run(config, folder)
    plan.children[1].wanted = False
    assert not JoinStep(config).done(plan)
    assert load_checkpoint(join_landmarks(config, plan))["meta"]["members"] == ["00_sella", "02_menton"]
    run, where = runs.tested_run(config)
    assert where == folder / "detector"
    assert run.test_dataloader.dataset.landmarks == ["sella", "menton"]
    assert len(run.model.detectors) == 2
    assert JoinStep(config).done(plan)


def test_it_is_joined_anew_only_if_a_model_has_changed(folder):
    config = frozen(folder)
    plan = plan_of_run(config, folder)
    path = join_landmarks(config, plan)
    before = path.stat().st_mtime_ns
    assert join_landmarks(config, plan).stat().st_mtime_ns == before
    best = join_landmarks(config, plan, "best")
    assert best == find_checkpoint(config, "best") == folder / "detector" / "best_detector.pth"
    assert path.stat().st_mtime_ns == before
    other = latest_checkpoint(folder / "01_nasion")
    content = load_checkpoint(other)
    content["state_dict"]["backbone.features.0.weight"] += 1  # its encoder is another one now
    content["meta"]["epoch"] = 7
    save_checkpoint(content, other)
    assert not JoinStep(config).done(plan)
    state = state_in(join_landmarks(config, plan))
    key = "backbone.features.0.weight"
    assert torch.equal(state[f"members.0.{key}"], state[f"members.2.{key}"])
    assert not torch.equal(state[f"members.0.{key}"], state[f"members.1.{key}"])
    assert not runs.tested_run(config)[0].model.shared_backbone
    assert "epoch" not in load_checkpoint(path)["meta"]


def test_a_checkpoint_of_another_landmark_is_refused(folder):
    config = frozen(folder)
    shutil.copy2(latest_checkpoint(folder / "00_sella"), latest_checkpoint(folder / "02_menton"))
    with pytest.raises(ValueError, match="finds sella, expected 'menton' there"):
        find_checkpoint(config, None)


def test_a_record_is_of_models_that_this_config_trained(trained):
    config = frozen(trained)
    path = find_checkpoint(config, None)
    check_trained_as(config, path)
    with pytest.raises(ConfigError, match=r"was not trained with .* but with .*00_sella"):
        check_trained_as(frozen(trained, optim_wrapper=dict(optimizer=dict(lr=0.5))), path)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
@pytest.mark.parametrize(
    ("done", "moment"),
    [
        ((), kills.Moment("between two landmarks", "write", 2, "00_sella/run.json", whole=True)),
        (("0*",), kills.Moment("while they are joined", "write", 1, "detector/detector.pth")),
    ],
    ids=["between_two_landmarks", "while_they_are_joined"],
)
def test_killed_it_goes_on(trained, tmp_path, done, moment):
    frozen("unused").dump(tmp_path / "each.py")
    for place in (place for pattern in done for place in trained.glob(pattern)):
        shutil.copytree(place, tmp_path / "killed" / place.name, copy_function=shutil.copy2)
    found = kills.disturbed(training(tmp_path / "each.py"), tmp_path / "killed", moment)
    assert_same(trained / "detector", found / "detector")


def test_machines_share_the_landmarks(trained, tmp_path):
    frozen("unused").dump(tmp_path / "each.py")
    work_dir = tmp_path / "shared"
    for name in ("00_sella", "02_menton"):  # trained elsewhere
        shutil.copytree(trained / name, work_dir / name, copy_function=shutil.copy2)
    config = prepare_config(tmp_path / "each.py", work_dir=str(work_dir), landmarks="0-1")
    assert set(train_config(config)) == {"00_sella", "01_nasion"}
    assert not (work_dir / "detector").exists()
    config = prepare_config(tmp_path / "each.py", work_dir=str(work_dir))
    assert_same(trained / "detector", find_checkpoint(config, None).parent)
