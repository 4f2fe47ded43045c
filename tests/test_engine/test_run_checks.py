"""What models and hooks check before the first batch; nobody else knows what that is."""

from __future__ import annotations

import copy

import pytest
from mmengine.hooks import Hook

from mmlandmark.engine import ConfigError, Node, check_plan, check_run, plan_of_run, plan_of_stages
from mmlandmark.engine.run_checks import RunContext
from mmlandmark.models.detectors import LandmarkDetector
from mmlandmark.registry import HOOKS, MODELS
from mmlandmark.testing import tiny_config

CALLS: list = []


@MODELS.register_module(force=True)
class CheckedDetectorOfTest(LandmarkDetector):
    """Checks its run."""

    def check_run(self, run):
        CALLS.append((run.where, run.provides("template")))
        if run.config.get("load_from") == "bad.pth":
            raise ValueError("load_from must not be bad.pth: name another")


@HOOKS.register_module(force=True)
class CheckingHookOfTest(Hook):
    """Checks the model of its run."""

    provides = ("template",)

    def check_run(self, run, model):
        CALLS.append((type(model).__name__, run.maker(run.config.get("load_from"))))


@pytest.fixture(autouse=True)
def calls():
    CALLS.clear()
    return CALLS


def config(folder, **overrides):
    return tiny_config(folder, **{"model.type": "CheckedDetectorOfTest"}, **overrides)


def test_the_model_and_then_the_hooks_are_asked(tmp_path, calls):
    hooks = [dict(type="PeakMonitorHook"), dict(type=CheckingHookOfTest)]
    check_run(config(tmp_path, custom_hooks=hooks), "this run", always_build=False)
    assert calls == [("this run", True), ("CheckedDetectorOfTest", None)]
    check_run(config(tmp_path), "this run")
    assert calls[2:] == [("this run", False)]


def test_an_error_names_the_run(tmp_path):
    with pytest.raises(ConfigError, match=r"run 'b': load_from must not be bad\.pth: name another"):
        check_plan(
            plan_of_stages(
                config(tmp_path, stages=[dict(name="a"), dict(name="b", load_from="bad.pth")]), tmp_path
            )
        )


def test_a_reference_leads_to_the_config_that_makes_it(tmp_path, calls):
    stages = [
        dict(name="a", train_cfg=dict(max_epochs=7)),
        dict(name="b", load_from="run:a:last", custom_hooks=[dict(type="CheckingHookOfTest")]),
    ]
    check_plan(plan_of_stages(config(tmp_path, stages=stages), tmp_path))
    assert calls[-1][1].train_cfg.max_epochs == 7
    with pytest.raises(ConfigError, match="'run:x:last' stands for a run that is not part of this plan"):
        RunContext(config(tmp_path), "this").maker("run:x:last")
    assert RunContext(config(tmp_path), "this").maker("x.pth") is None


def test_a_model_is_built_for_the_dimensions_of_its_images(tmp_path, monkeypatch):
    """The config does not repeat them, and no data is read: there is none."""
    volumes = config(tmp_path)
    pipeline = [dict(type="LoadImage"), dict(type="Resize", size=(8, 8, 8))]
    for loader in (volumes.train_dataloader, volumes.val_dataloader, volumes.test_dataloader):
        loader.dataset = dict(type="LandmarkDataset", ann_file="nowhere.json", pipeline=pipeline)
    seen = []
    monkeypatch.setattr(CheckedDetectorOfTest, "check_run", lambda self, run: seen.append(self.dims))
    check_run(volumes, "volumes")
    check_run(config(tmp_path), "phantoms")
    assert seen == [3, 2]


def test_folds_and_seeds_are_checked_once_and_what_is_finished_not_at_all(tmp_path, calls):
    def plan():
        runs = [
            plan_of_run(config(tmp_path, randomness=dict(seed=seed)), tmp_path / f"seed{seed}")
            for seed in range(3)
        ]
        return Node("plan", tmp_path, children=runs)

    check_plan(plan())
    assert [where for where, _ in calls] == ["run 'seed0'"]
    first = plan().children[0]
    first.run_folder.begin()
    (first.folder / "epoch_1.pth").write_bytes(b"x")
    first.run_folder.finish_training({})
    check_plan(plan())
    assert calls[-1][0] == "run 'seed1'"


def test_a_model_that_cannot_be_built_is_named_with_a_cure(tmp_path):
    wrong = config(tmp_path)
    wrong.model.backbone = dict(type="HRNet", widths=(8, 16))
    with pytest.raises(ConfigError, match=r"this: .*widths.*begins with _delete_=True"):
        check_run(wrong, "this")
    check_run(tiny_config(tmp_path, **{"model.backbone.in_channels": -1}), "this", always_build=False)


def test_the_best_checkpoint_must_be_kept(tmp_path):
    stages = [dict(name="a"), dict(name="b", load_from="run:a:best")]
    plan = plan_of_stages(config(tmp_path, stages=stages), tmp_path)
    hooks = plan.children[0].config.default_hooks
    for hook in (hooks.checkpoint, dict(hooks.checkpoint, save_best=None), None):
        hooks.checkpoint = hook
        with pytest.raises(
            ConfigError, match="run 'b' needs the best checkpoint of 'a', which keeps none: set save_best"
        ):
            check_plan(plan)
    hooks.checkpoint = dict(type="CheckpointHook", save_best="mre", rule="less")
    check_plan(plan)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"default_hooks.checkpoint.save_best": "auto"}, "CheckpointHook: save_best='auto' names no metric"),
        ({"default_hooks.checkpoint.save_best": "mre"}, "Cannot infer the rule for key mre"),
        ({"default_hooks.checkpoint.save_best": 3}, 'CheckpointHook: "save_best" should be a str'),
        ({"custom_hooks": [dict(type="EarlyStoppingHook", monitor="mre")]}, "Cannot infer the rule for mre"),
        ({"custom_hooks": [dict(type="EMAHook", begin_epoch=-1)]}, "EMAHook: "),
    ],
)
def test_a_hook_that_a_later_run_cannot_build_is_refused_before_the_first(tmp_path, changed, why):
    stages = [dict(name="a"), dict(name="b")]
    plan = plan_of_stages(config(tmp_path, stages=stages), tmp_path)
    check_plan(plan)
    plan.children[1].config.merge_from_dict(changed)
    with pytest.raises(ConfigError, match=f"run 'b': {why}"):
        check_plan(plan)


def test_a_hook_may_be_built_already(tmp_path, calls):
    run = config(tmp_path)
    run.custom_hooks = [CheckingHookOfTest()]
    check_run(run, "this run")
    assert calls == [("this run", True), ("CheckedDetectorOfTest", None)]


def test_a_detector_that_cannot_be_trained_is_refused_before_the_run(tmp_path):
    """As a whole or as a part that would learn; a frozen part need not."""
    run = tiny_config(tmp_path)
    alone = copy.deepcopy(run.model.to_dict())
    mixed = dict(type="MixedEnsemble", detectors=[alone, alone])
    run.model = mixed
    for always_build in (True, False):
        with pytest.raises(ConfigError, match=r"this: MixedEnsemble is made of trained .* one by one"):
            check_run(run, "this", always_build=always_build)
    bare = {key: part for key, part in alone.items() if key not in ("data_preprocessor", "test_cfg")}
    run.model = dict(type="LandmarkwiseDetector", detectors=[bare])
    with pytest.raises(ConfigError, match=r"this: LandmarkwiseDetector .* per_landmark=True"):
        check_run(run, "this", always_build=False)
    nested = dict(type="CoarseToFineDetector", coarse_size=(32, 32), patch_size=16, coarse=alone, fine=alone)
    run.load_from = "all.pth"
    run.model = dict(nested, coarse=mixed)
    check_run(run, "this")
    run.model = dict(nested, fine=mixed)
    with pytest.raises(ConfigError, match=r"this: model\.fine: MixedEnsemble is made of trained"):
        check_run(run, "this", always_build=False)
