"""Metrics say what they will report, and report that."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric, Evaluator

from mmlandmark.evaluation import CaseMetric, CoordinateMetric, LandmarkMetric
from mmlandmark.evaluation.reported_keys import is_reported, reported_keys
from mmlandmark.registry import EVALUATOR, METRICS
from mmlandmark.structures import LandmarkDataSample

ANGLE = dict(
    name="bend", kind="angle", points=[0, 1, 2], classes=[dict(label="low", below=90), dict(label="high")]
)
LENGTH = dict(name="length", kind="distance", points=[0, 1])
META = dict(landmark_names=["<a>", "b c", "d"], dims=2, schema="own", measures=[ANGLE, LENGTH])
CONFIGS = [
    dict(type="LandmarkMetric"),
    dict(type="LandmarkMetric", unit="px", radii=(2, 2.5, 2), per_landmark=True),
    dict(
        type="LandmarkMetric",
        unit="normalized",
        radii=(0.125,),
        reference=dict(pair=(0, 1)),
        prefix="of pair",
    ),
    dict(type="CoordinateMetric", prefix="own"),
    dict(type="PresenceMetric"),
    dict(type="PresenceMetric", per_landmark=True, prefix="p"),
    dict(type="MeasureMetric"),
    dict(type="MeasureMetric", smape=True, prefix="m"),
    dict(type="MeasureMetric", measures=["bend", dict(LENGTH, name="other")]),
]


class Lengths(CaseMetric):
    """Does not say what it reports."""

    def measure(self, cases):
        """Return one number."""
        return dict(length=1.0)


class OtherLengths(LandmarkMetric):
    """Measures something of its own beside, and does not say what."""

    def measure(self, cases):
        """Return one number more."""
        return dict(super().measure(cases), sum_of_errors=1.0)


class SaidLengths(OtherLengths):
    """Says it."""

    @property
    def reported_keys(self):
        """Return one key more."""
        return [*super().reported_keys, "sum_of_errors"]


class LoudLengths(LandmarkMetric):
    """Measures as its base, and does more with it."""

    def __init__(self, word="", **kwargs):
        super().__init__(**kwargs)
        self.word = word


class Foreign(BaseMetric):
    """A metric of another package."""

    def __init__(self):
        super().__init__()
        raise AssertionError("built only to ask it")

    def process(self, data_batch, data_samples):
        """Do nothing."""

    def compute_metrics(self, results):
        """Return nothing."""
        return {}


@EVALUATOR.register_module(force=True)
class EvaluatorOfTest(Evaluator):
    """May report more than its metrics."""


def samples():
    """Return two cases of three landmarks; each landmark is in the image in one of them."""
    rng, made = np.random.default_rng(0), []
    for n in range(2):
        sample = LandmarkDataSample.from_landmarks(
            rng.uniform(1, 40, (3, 2)),
            sample_id=str(n),
            ori_shape=(64, 64),
            spacing=(0.5, 0.5),
            visibility=[1, 1, 1] if n else [-1, 1, -1],
        )
        sample.pred_landmarks = torch.tensor(rng.uniform(1, 40, (3, 2)))
        sample.pred_presence = torch.tensor([0.2, 0.7, 0.9])
        made.append(sample.to_dict())
    return made


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_what_is_said_is_reported_and_nothing_else(config):
    keys = reported_keys(config)
    metric = METRICS.build(config)
    metric.dataset_meta = META
    given = samples()[1:] if config["type"] == "LandmarkMetric" else samples()
    metric.process(None, given)
    values = metric.evaluate(len(given))
    assert [key for key in values if not is_reported(key, keys)] == []
    open_ended = [key for key in keys if "<" in key]
    assert [key for key in keys if key not in values and key not in open_ended] in (
        [],
        ["class_accuracy_other"],
    )
    for pattern in open_ended:
        assert any(is_reported(key, [pattern]) for key in values), pattern
    assert not is_reported("mree", keys)


def test_every_metric_of_the_package_says_what_it_reports():
    own = [kind for kind in METRICS.module_dict.values() if kind.__module__.startswith("mmlandmark.")]
    assert {kind.__name__ for kind in own} == {config["type"] for config in CONFIGS}


def test_all_metrics_of_an_evaluator_count():
    both = [dict(type="CoordinateMetric"), CoordinateMetric(prefix="b")]
    keys = ["coordinate_mse", "pearson_rho", "b/coordinate_mse", "b/pearson_rho"]
    for evaluator in (
        both,
        tuple(both),
        dict(metrics=both),
        dict(type="Evaluator", metrics=both),
        Evaluator([CoordinateMetric(), CoordinateMetric(prefix="b")]),
    ):
        assert reported_keys(evaluator) == keys


@pytest.mark.parametrize("kind", [OtherLengths, Foreign, Lengths, dict, "DumpResults"])
def test_nothing_is_known_of_a_metric_that_does_not_say_it(kind):
    assert reported_keys(dict(type=kind)) is None
    assert reported_keys([dict(type="LandmarkMetric"), dict(type=kind)]) is None


def test_nothing_is_known_without_metrics_or_of_another_evaluator():
    for evaluator in (
        None,
        [],
        dict(metrics=None),
        dict(type="EvaluatorOfTest", metrics=CONFIGS),
        EvaluatorOfTest([]),
    ):
        assert reported_keys(evaluator) is None


def test_a_subclass_may_say_more_and_one_that_measures_the_same_need_not():
    plain = reported_keys(dict(type="LandmarkMetric"))
    assert reported_keys(dict(type=SaidLengths)) == [*plain, "sum_of_errors"]
    assert reported_keys(dict(type=LoudLengths, word="x")) == plain


def test_names_of_the_data_may_be_any():
    keys = ["mre", "mre_<landmark>"]
    assert all(is_reported(key, keys) for key in ("mre", "mre_a (left)\n[1]"))
    assert not any(is_reported(key, keys) for key in ("", "mre_", "mree", "xmre"))
