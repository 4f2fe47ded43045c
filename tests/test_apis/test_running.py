"""prepare_config, train_config, test_config: what they take, leave behind and return."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from mmlandmark import apis
from mmlandmark.apis import prepare_config, train_config
from mmlandmark.engine import ConfigError, LandmarkRunner, latest_checkpoint, plan_of_run
from mmlandmark.engine.hooks import EpochSeedHook
from mmlandmark.registry import DATASETS
from mmlandmark.testing import phantom_dataloader, tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint, save_checkpoint


@pytest.fixture
def epochs(monkeypatch):
    """The epochs that are trained, as they begin."""
    seen = []
    original = EpochSeedHook.before_train_epoch

    def before_train_epoch(self, runner):
        seen.append(runner.epoch)
        original(self, runner)

    monkeypatch.setattr(EpochSeedHook, "before_train_epoch", before_train_epoch)
    return seen


def state(path) -> dict:
    return load_checkpoint(path)["state_dict"]


def same(a: dict, b: dict) -> bool:
    return set(a) == set(b) and all(torch.equal(a[k], b[k]) for k in a)


# ---- prepare_config -------------------------------------------------------------------------------------


def test_a_test_keeps_the_spread_unless_the_config_says_otherwise(trained, tested, tmp_path):
    cases = json.loads((tested[0] / "predictions.json").read_text())["cases"]
    assert all(len(case["spread"]) == len(case["scores"]) == 19 for case in cases)
    config = trained.config(**{"model.test_cfg": dict(spread=False)})
    apis.test_config(config, trained.folder / "epoch_2.pth", out_dir=tmp_path)
    (case, *_) = json.loads((tmp_path / "predictions.json").read_text())["cases"]
    assert "spread" not in case
    assert len(case["scores"]) == 19


def test_prepare_applies_the_command_line(trained):
    config = prepare_config(
        trained.path,
        options={"train_cfg.max_epochs": 7},
        work_dir="elsewhere",
        launcher="none",
        seed=5,
        deterministic=True,
        amp=True,
    )
    assert config.train_cfg.max_epochs == 7
    assert config.work_dir == "elsewhere"
    assert config.launcher == "none"
    assert config.randomness == dict(seed=5, deterministic=True)
    assert config.optim_wrapper.type == "AutocastOptimWrapper"
    assert config.optim_wrapper.optimizer.type == "Adam"
    assert Path(config.filename) == trained.path


def test_prepare_without_a_command_line(tmp_path, monkeypatch):
    for name in ("LOCAL_RANK", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "method_data.py"
    path.write_text("model = dict(type='LandmarkDetector')\n")
    config = prepare_config(path)
    assert config.work_dir == str(Path("work_dirs") / "method_data")
    assert config.launcher == "none"
    assert config.randomness == dict(seed=0)
    assert config.default_scope == "mmlandmark"
    path.write_text("work_dir = 'mine'\nrandomness = dict(seed=4)\n")
    config = prepare_config(path, deterministic=True)
    assert config.work_dir == "mine"
    assert config.randomness == dict(seed=4, deterministic=True)
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    assert prepare_config(path).launcher == "pytorch"


def test_mixed_precision_needs_something_to_mix(tmp_path):
    path = tmp_path / "no_training.py"
    path.write_text("model = dict(type='LandmarkDetector')\n")
    with pytest.raises(ConfigError, match=r"no_training\.py: mixed precision needs an optim_wrapper"):
        prepare_config(path, amp=True)


# ---- train_config ---------------------------------------------------------------------------------------


def test_a_training_leaves_checkpoints_and_returns_the_last_validation(trained):
    assert {"epoch_1.pth", "epoch_2.pth", "last_checkpoint"} <= {p.name for p in trained.folder.iterdir()}
    assert {"mre", "sdr_2px", "sdr_4px", "num_images"} <= set(trained.metrics)
    assert not {"time", "data_time"} & set(trained.metrics)
    assert all(type(value) is float and math.isfinite(value) for value in trained.metrics.values())
    (scalars,) = trained.folder.glob("*/vis_data/scalars.json")
    rows = [json.loads(line) for line in scalars.read_text().splitlines()]
    validations = [row["mre"] for row in rows if "mre" in row]
    assert len(validations) == 2
    assert trained.metrics["mre"] == pytest.approx(validations[-1])
    assert load_checkpoint(trained.folder / "epoch_2.pth")["meta"]["seed"] == 3
    assert not [p for p in trained.folder.rglob(".*")], "a temporary file was left"


def test_the_callers_config_stays_as_it_is(trained, monkeypatch):
    monkeypatch.setattr(LandmarkRunner, "train", lambda self: None)
    config = trained.config()
    before = config.pretty_text
    train_config(config, resume="auto")
    assert config.pretty_text == before


def test_resume_goes_on_where_it_stopped(tmp_path, epochs):
    def config(number):
        return tiny_config(tmp_path / "run", max_epochs=number)

    train_config(config(1), resume="auto")  # nothing there yet: starts anew
    assert epochs == [0]
    train_config(config(2), resume="auto")
    assert epochs == [0, 1]
    train_config(config(2), resume="auto")  # finished: nothing is trained, nothing lost
    assert epochs == [0, 1]
    assert latest_checkpoint(tmp_path / "run").name == "epoch_2.pth"

    first = state(tmp_path / "run" / "epoch_2.pth")
    other = tiny_config(tmp_path / "other", max_epochs=2)
    train_config(other, resume=str(tmp_path / "run" / "epoch_1.pth"))  # from a file of another folder
    assert epochs == [0, 1, 1]
    assert same(state(tmp_path / "other" / "epoch_2.pth"), first)
    assert not (tmp_path / "other" / "epoch_1.pth").exists()

    train_config(config(1))  # not asked to resume: from the beginning
    assert epochs == [0, 1, 1, 0]


def test_resume_of_a_run_not_yet_begun_starts_from_load_from(trained, tmp_path, monkeypatch):
    loaded = []
    monkeypatch.setattr(LandmarkRunner, "train", lambda self: loaded.append((self._resume, self._load_from)))
    start = str(trained.folder / "epoch_2.pth")
    train_config(trained.config(work_dir=str(tmp_path), load_from=start), resume="auto")
    assert loaded == [(False, start)]
    # Once the run has a checkpoint of its own, that is what it goes on from.
    save_checkpoint(load_checkpoint(start), tmp_path / "epoch_1.pth")
    train_config(trained.config(work_dir=str(tmp_path), load_from=start), resume="auto")
    assert loaded[1] == (True, None)


def test_a_missing_checkpoint_to_resume_from_is_named(trained, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.pth does not exist"):
        train_config(trained.config(work_dir=str(tmp_path)), resume=str(tmp_path / "none.pth"))
    assert not list(tmp_path.glob("*.pth"))


def test_stages_resume_by_themselves(trained, tmp_path):
    config = trained.config(work_dir=str(tmp_path), stages=[dict(name="one")])
    with pytest.raises(ConfigError, match="resumes by itself"):
        train_config(config, resume=str(trained.folder / "epoch_1.pth"))
    with pytest.raises(ConfigError, match=r"unet_tiny\.py has no stages, so no stage 'one'"):
        train_config(trained.config(), stage="one")
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_validation(tmp_path):
    config = tiny_config(tmp_path, max_epochs=1, val_dataloader=None, val_cfg=None, val_evaluator=None)
    assert train_config(config) == {}
    assert (tmp_path / "epoch_1.pth").is_file()


@pytest.mark.filterwarnings("error:.*has been created")  # MMEngine, when one run finds another's log
def test_runs_that_begin_in_the_same_second_keep_their_logs_apart(tmp_path, monkeypatch):
    monkeypatch.setattr("mmengine.runner.runner.time.time", lambda: 1e9)
    runners = [LandmarkRunner.from_cfg(tiny_config(tmp_path / name)) for name in ("a", "b")]
    assert runners[0].experiment_name != runners[1].experiment_name
    assert runners[0].message_hub is not runners[1].message_hub
    assert runners[0].visualizer is not runners[1].visualizer


def test_runs_of_one_process_do_not_mix(tmp_path):
    runs = [train_config(tiny_config(tmp_path / name, max_epochs=1)) for name in ("a", "b")]
    assert runs[0] == runs[1]
    assert same(*(state(tmp_path / name / "epoch_1.pth") for name in ("a", "b")))
    other = train_config(tiny_config(tmp_path / "c", max_epochs=1, randomness=dict(seed=1)))
    assert other != runs[0]


# ---- starting weights -----------------------------------------------------------------------------------


def test_load_from_starts_with_the_weights_given(trained, tmp_path):
    start = trained.folder / "epoch_2.pth"
    config = trained.config(work_dir=str(tmp_path), load_from=str(start))
    config.optim_wrapper.optimizer.lr = 0.0
    config.train_cfg.max_epochs = 1
    train_config(config)
    ours, theirs = state(tmp_path / "epoch_1.pth"), state(start)
    learned = [k for k in ours if not k.endswith(("running_mean", "running_var", "num_batches_tracked"))]
    assert same({k: ours[k] for k in learned}, {k: theirs[k] for k in learned})
    assert load_checkpoint(tmp_path / "epoch_1.pth")["meta"]["epoch"] == 1  # weights, not the state of a run


def hand_config(work_dir, **overrides):
    config = tiny_config(work_dir, max_epochs=1, **overrides)
    config.model.head.num_landmarks = 37
    for key in ("train_dataloader", "val_dataloader", "test_dataloader"):
        config[key] = phantom_dataloader(37, num_samples=2, train=key.startswith("train"))
    return config


@pytest.mark.parametrize("way", ["load_from", "resume"])
def test_weights_of_another_model_are_refused(trained, tmp_path, way, epochs):
    start = str(trained.folder / "epoch_2.pth")
    config = hand_config(tmp_path, load_from=start if way == "load_from" else None)
    with pytest.raises(ValueError, match="weights of another model") as caught:
        train_config(config, resume=start if way == "resume" else None)
    text = str(caught.value)
    assert text.startswith(f"checkpoint {start} ")
    assert "head.convs.0.weight (19, 8, 1, 1) instead of (37, 8, 1, 1)" in text
    assert "\n" not in text
    assert epochs == []
    assert not list(tmp_path.glob("*.pth"))


def test_load_strict_false_takes_what_fits(trained, tmp_path):
    start = trained.folder / "epoch_2.pth"
    config = hand_config(tmp_path, load_from=str(start), load_strict=False)
    config.optim_wrapper.optimizer.lr = 0.0
    train_config(config)
    ours, theirs = state(tmp_path / "epoch_1.pth"), state(start)
    assert torch.equal(ours["backbone.down1.0.conv.weight"], theirs["backbone.down1.0.conv.weight"])
    assert ours["head.convs.0.weight"].shape[0] == 37


# ---- test_config ----------------------------------------------------------------------------------------


def test_a_test_repeats_the_validation(trained, tmp_path):
    metrics = apis.test_config(trained.config(work_dir=str(tmp_path)), trained.folder / "epoch_2.pth")
    shared = set(metrics) & set(trained.metrics)
    assert "mre" in shared
    for key in shared:  # the test data are those of the validation
        assert metrics[key] == pytest.approx(trained.metrics[key])
    assert not list(tmp_path.rglob("report.*")), "no out_dir, no files"
    assert not list(tmp_path.glob("*.pth"))


def test_a_test_writes_its_files(trained, tmp_path):
    config = trained.config(work_dir=str(tmp_path))
    before = config.pretty_text
    metrics = apis.test_config(config, trained.folder / "epoch_1.pth", out_dir=tmp_path / "out")
    assert config.pretty_text == before
    files = {p.name for p in (tmp_path / "out").iterdir() if p.is_file()}
    # Beside the metric's files the config, as it was tested.
    assert files == {"report.json", "report.csv", "report.md", "predictions.json", "unet_tiny.py"}
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["overall"]["mre"] == pytest.approx(metrics["mre"])
    assert len(report["landmarks"]) == 19
    table = (tmp_path / "out" / "report.md").read_text()
    assert f"{metrics['mre']:.2f}" in table
    assert table.count("\n| ") == 1 + 19 + 2  # all, the landmarks, and two lines of head
    cases = json.loads((tmp_path / "out" / "predictions.json").read_text())["cases"]
    assert [c["sample_id"] for c in cases] == [f"ceph_0_{i:06d}" for i in range(100, 104)]
    assert all(len(c["pred"]) == len(c["gt"]) == len(c["errors"]) == 19 for c in cases)


def test_a_test_leaves_the_training_as_it_was(trained):
    def files():
        return {
            p: p.read_bytes()
            for p in trained.folder.rglob("*")
            if p.is_file() and trained.folder / "test" not in p.parents
        }

    before = files()
    assert any(p.name == "unet_tiny.py" for p in before)
    apis.test_config(trained.config(), trained.folder / "epoch_2.pth")
    assert files() == before


def test_it_needs_no_training_data(trained, tmp_path):
    config = trained.config(work_dir=str(tmp_path))
    config.train_dataloader.dataset = dict(type="LandmarkDataset", data_root="nowhere", ann_file="none.json")
    config.val_dataloader.dataset = config.train_dataloader.dataset
    config.optim_wrapper.optimizer.type = "NoSuchOptimizer"
    assert "mre" in apis.test_config(config, trained.folder / "epoch_2.pth")


def test_several_metrics_at_once(trained, tmp_path):
    config = trained.config(work_dir=str(tmp_path))
    others = [dict(type="CoordinateMetric"), dict(type="MeasureMetric", measures=["SNA", "MW"])]
    config.test_evaluator = [config.test_evaluator, *others]
    metrics = apis.test_config(config, trained.folder / "epoch_2.pth", out_dir=tmp_path / "out")
    assert {"mre", "coordinate_mse", "pearson_rho", "mae_SNA", "class_accuracy"} <= set(metrics)
    assert (tmp_path / "out" / "predictions.json").is_file()
    assert {path.name for path in (tmp_path / "out").glob("measures.*")} == {
        f"measures.{kind}" for kind in ("json", "csv", "md")
    }
    tables = apis.tables_of_test(config, tmp_path / "out")
    assert tables == "\n".join((tmp_path / "out" / f"{n}.md").read_text() for n in ("report", "measures"))


def test_flip_is_an_average_of_both_images(trained, tmp_path):
    # Two landmarks of a side view that swap: enough to see that the pairs of the schema are used.
    names = DATASETS.build(trained.config().test_dataloader.dataset).metainfo["landmark_names"]
    paired = dict(name="paired", landmarks=names, flip_pairs=[[0, 1]])

    def predictions(name, **overrides):
        config = trained.config(work_dir=str(tmp_path / name), **overrides)
        config.test_dataloader.dataset.schema = paired
        apis.test_config(config, trained.folder / "epoch_2.pth", out_dir=tmp_path / name)
        cases = json.loads((tmp_path / name / "predictions.json").read_text())["cases"]
        return torch.tensor([c["pred"] for c in cases])

    plain = predictions("plain")
    flipped = predictions("flip", model=dict(test_cfg=dict(flip=True)))
    assert plain.shape == flipped.shape
    assert not torch.equal(plain, flipped)
    assert torch.equal(flipped, predictions("again", model=dict(test_cfg=dict(flip=True))))


def test_flip_without_pairs_is_refused(trained, tmp_path):
    config = trained.config(work_dir=str(tmp_path), model=dict(test_cfg=dict(flip=True)))
    with pytest.raises(ValueError, match=r"test_cfg\.flip needs flip_pairs in the dataset's landmark schema"):
        apis.test_config(config, trained.folder / "epoch_2.pth", out_dir=tmp_path / "out")
    assert not list(tmp_path.rglob("report.*"))


@pytest.mark.parametrize("key", ["test_dataloader", "test_evaluator"])
def test_a_config_that_cannot_be_tested_is_named(trained, tmp_path, key):
    config = trained.config(work_dir=str(tmp_path))
    config.pop(key)
    with pytest.raises(ConfigError, match=r"unet_tiny\.py: testing needs test_dataloader and test_evaluator"):
        apis.test_config(config, trained.folder / "epoch_2.pth")


def test_weights_of_another_model_are_not_tested(trained, tmp_path):
    with pytest.raises(ValueError, match=r"epoch_2\.pth holds the weights of another model"):
        apis.test_config(hand_config(tmp_path), trained.folder / "epoch_2.pth", out_dir=tmp_path / "out")
    assert not list(tmp_path.rglob("report.*"))


def test_of_stages_the_last_is_tested(trained, tmp_path):
    stages = [
        dict(name="rough", train_cfg=dict(max_epochs=1)),
        dict(
            name="fine",
            load_from="run:rough:last",
            train_cfg=dict(max_epochs=1),
            test_evaluator=dict(radii=(8,)),
        ),
    ]
    config = trained.config(work_dir=str(tmp_path), stages=stages)
    results = train_config(config)
    assert list(results) == ["rough", "fine"]
    note = json.loads((tmp_path / "02_fine" / "run.json").read_text())
    assert note["metrics"]["mre"] > 0
    assert note["metrics"]["num_images"] == 4
    checkpoint = apis.find_checkpoint(config, None)
    assert checkpoint == tmp_path / "02_fine" / "epoch_1.pth"
    metrics = apis.test_config(config, checkpoint, out_dir=tmp_path / "test")
    assert "sdr_8px" in metrics
    assert "sdr_2px" not in metrics
    assert metrics["mre"] == pytest.approx(note["metrics"]["mre"])
    drawn = {p.name for p in apis.draw_test_figures(config, tmp_path / "test")}
    assert "training.png" in drawn, "the log of the stage is found"


def test_launchers_that_need_gpus_say_so(trained, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ValueError, match="launcher 'slurm' needs GPUs"):
        train_config(trained.config(work_dir=str(tmp_path), launcher="slurm"))


def test_a_training_leaves_a_note_of_what_came_out(tmp_path):
    config = tiny_config(tmp_path, max_epochs=1)
    metrics = train_config(config)
    node = plan_of_run(config, tmp_path)
    assert node.finished()
    assert node.trained().metrics == metrics
    assert node.trained().checkpoint == "epoch_1.pth"
    # Another training in the folder replaces it, but only once it is finished.
    longer = tiny_config(tmp_path, max_epochs=2)
    with pytest.raises(ConfigError, match="holds a run with other values"):
        plan_of_run(longer, tmp_path).finished()
    train_config(longer, resume="auto")
    assert plan_of_run(longer, tmp_path).trained().checkpoint == "epoch_2.pth"


def test_a_training_that_begins_anew_is_not_finished(tmp_path, monkeypatch):
    config = tiny_config(tmp_path, max_epochs=2)
    train_config(config)
    monkeypatch.setattr(
        EpochSeedHook, "before_train_epoch", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        train_config(config)
    assert not plan_of_run(config, tmp_path).finished()
