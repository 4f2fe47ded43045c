"""A metric that nobody reports is refused before a run, not after its first validation."""

from __future__ import annotations

import pytest
from mmengine.hooks import Hook
from mmengine.runner import ValLoop

from mmlandmark.apis import train_config
from mmlandmark.engine import ConfigError, check_plan, check_run, plan_of_stages
from mmlandmark.evaluation import LandmarkMetric
from mmlandmark.registry import HOOKS, LOOPS, METRICS
from mmlandmark.testing import tiny_config


@METRICS.register_module(force=True)
class MetricOfTest(LandmarkMetric):
    """Reports what it does not say before."""

    def measure(self, cases):
        """Return one number more."""
        return dict(super().measure(cases), mree=1.0)


@LOOPS.register_module(force=True)
class ValLoopOfTest(ValLoop):
    """May add to what is reported."""


@HOOKS.register_module(force=True)
class AddingHookOfTest(Hook):
    """Adds to what is reported."""

    def after_val_epoch(self, runner, metrics=None):
        """Add a number."""
        metrics["mree"] = 1.0


@HOOKS.register_module(force=True)
class OtherHookOfTest(Hook):
    """Has nothing to do with it."""


def best(metric, kind="CheckpointHook", **more):
    return {"default_hooks.checkpoint": dict(type=kind, save_best=metric, rule="less", **more)}


def stopping(metric):
    return {"custom_hooks": [dict(type="EarlyStoppingHook", monitor=metric, rule="less")]}


def plateau(**given):
    return {"param_scheduler": [dict(type="ReduceOnPlateauLR", **given)]}


MISSPELT = [
    (best("mree"), r"CheckpointHook goes by 'mree', .* did you mean mre, "),
    (best(["mre", "sdr_2mm"]), r"CheckpointHook goes by 'sdr_2mm', .* did you mean sdr_2px"),
    (
        best("accuracy", "TimedCheckpointHook"),
        r"TimedCheckpointHook goes by 'accuracy', .*; it reports mre, ",
    ),
    (best("a/mre"), "did you mean mre?"),
    (stopping("MRE_"), "EarlyStoppingHook goes by 'MRE_', which val_evaluator does not report"),
    (plateau(monitor="mer"), "ReduceOnPlateauLR goes by 'mer', .* did you mean mre"),
    (plateau(), "ReduceOnPlateauLR goes by 'loss'"),
]


@pytest.mark.parametrize(("changed", "why"), MISSPELT)
@pytest.mark.parametrize("always_build", [True, False])
def test_a_misspelt_metric_is_refused_with_the_nearest(tmp_path, changed, why, always_build):
    run = tiny_config(tmp_path, **changed)
    with pytest.raises(ConfigError, match=f"^this run: .*{why}"):
        check_run(run, "this run", always_build=always_build)


@pytest.mark.parametrize(
    "changed",
    [
        best("mre"),
        best(["sdr_4px", "outliers_2px"]),
        stopping("mre_image"),
        plateau(monitor="mre"),
        best("mre_any name") | {"val_evaluator.per_landmark": True},
        best("a/mre") | {"val_evaluator.prefix": "a"},
        best("mree") | {"val_evaluator": None},
        best("mree") | {"val_evaluator": dict(type="MetricOfTest", unit="px")},
        best("mree") | {"val_cfg": dict(type="ValLoopOfTest")},
        best("mree") | {"custom_hooks": [dict(type="AddingHookOfTest")]},
        best(None),
        {"param_scheduler": None},
    ],
    ids=str,
)
def test_what_is_reported_or_may_be_is_accepted(tmp_path, changed):
    check_run(tiny_config(tmp_path, **changed), "this run")


def test_a_hook_that_adds_nothing_hides_nothing(tmp_path):
    hooks = {"custom_hooks": [dict(type="OtherHookOfTest"), dict(type="EMAHook")]}
    with pytest.raises(ConfigError, match="goes by 'mree'"):
        check_run(tiny_config(tmp_path, **best("mree"), **hooks), "this run")


def test_a_metric_that_cannot_be_built_is_named(tmp_path):
    with pytest.raises(ConfigError, match="this run: LandmarkMetric: unit must be one of"):
        check_run(tiny_config(tmp_path, **best("mre"), **{"val_evaluator.unit": "cm"}), "this run")
    with pytest.raises(
        ConfigError, match=r"this run: 'LandmarkMetrik' is not in .* Did you mean LandmarkMetric"
    ):
        check_run(
            tiny_config(tmp_path, **best("mre"), **{"val_evaluator.type": "LandmarkMetrik"}), "this run"
        )


def test_every_optimiser_has_schedules_of_its_own(tmp_path):
    run = tiny_config(tmp_path)
    run.param_scheduler = dict(one=None, other=plateau(monitor="mer")["param_scheduler"])
    with pytest.raises(ConfigError, match="ReduceOnPlateauLR goes by 'mer'"):
        check_run(run, "this run")


def test_a_later_stage_is_checked_before_the_first(tmp_path):
    stages = [
        dict(name="a"),
        dict(name="b", default_hooks=dict(checkpoint=dict(save_best="mree", rule="less"))),
    ]
    with pytest.raises(ConfigError, match="run 'b': CheckpointHook goes by 'mree'"):
        check_plan(plan_of_stages(tiny_config(tmp_path, stages=stages), tmp_path))


def test_nothing_is_trained(tmp_path):
    with pytest.raises(ConfigError, match=r"goes by 'mree', .* did you mean mre"):
        train_config(tiny_config(tmp_path / "run", **best("mree")))
    assert not list(tmp_path.rglob("*.pth"))
