"""Metrics of MMEngine's loops, alone and on two processes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from mmlandmark.evaluation import CoordinateMetric, LandmarkMetric
from mmlandmark.structures import LandmarkDataSample
from mmlandmark.testing.forks import forked

NAN = np.nan


def sample(name, gt, pred, spacing=(0.1, 0.1), **extra):
    gt = np.asarray(gt, dtype=np.float32)
    made = LandmarkDataSample.from_landmarks(
        gt, sample_id=name, ori_shape=(200, 100, 50)[-gt.shape[1] :], spacing=spacing, **extra
    )
    made.pred_landmarks = torch.as_tensor(np.asarray(pred, dtype=np.float32))
    return made.to_dict()


def run(metric, samples):
    metric.process(None, samples)
    return metric.evaluate(len(samples))


def test_millimetres_come_from_each_samples_spacing():
    samples = [
        sample("a", [[0, 0], [10, 10]], [[30, 40], [10, 10]]),
        sample("b", [[0, 0], [10, 10]], [[3, 4], [10, 10]], spacing=(1, 0.5)),
    ]
    values = run(LandmarkMetric(radii=(2, 3.7)), samples)
    errors = [5, 0, np.sqrt(9 + 4), 0]
    assert values["mre"] == pytest.approx(np.mean(errors))
    assert values["mre_sd"] == pytest.approx(np.std(errors))
    assert (values["sdr_2mm"], values["outliers_2mm"], values["sdr_3.7mm"]) == (50, 50, 75)
    assert (values["num_images"], values["num_annotated"]) == (2, 4)


def test_strict():
    samples = [sample("a", [[0, 0], [0, 0]], [[0, 20], [0, 10]], spacing=None)]
    assert run(LandmarkMetric(unit="px", radii=(20,)), samples)["sdr_20px"] == 100
    assert run(LandmarkMetric(unit="px", radii=(20,), strict=True), samples)["sdr_20px"] == 50


def test_a_legacy_grid_says_so():
    samples = [sample("a", [[7, 9], [20, 40]], [[1, 1], [20, 40]], spacing=None)]  # of 100 x 50 pixels
    metric = LandmarkMetric(unit="px", radii=(1,), legacy_grid=(10, 5), strict=True)
    assert run(metric, samples)["mre"] == 0  # both lie in cells of 10 x 10 pixels
    assert "LEGACY: cells of a grid of 10 x 5, annotation truncated" in metric.report.scale_source
    assert metric.cases[0]["pred"].tolist() == [[1, 1], [20, 40]]
    assert run(LandmarkMetric(unit="px", radii=(1,)), samples)["mre"] == 5
    with pytest.raises(ValueError, match="sides of legacy_grid must be positive"):
        LandmarkMetric(legacy_grid=(384, 0))
    metric = LandmarkMetric(unit="px", legacy_grid=(10, 5))
    bare = dict(samples[0], ori_shape=None)
    with pytest.raises(ValueError, match="a: ori_shape must have one side per axis"):
        run(metric, [bare])


def test_three_dimensions():
    values = run(LandmarkMetric(), [sample("a", [[0, 0, 0]], [[1, 2, 2]], spacing=(1, 1, 0.5))])
    assert values["mre"] == pytest.approx(np.sqrt(1 + 4 + 1))


def test_missing_points():
    samples = [
        sample("a", [[0, 0], [NAN, NAN], [0, 0]], [[10, 0], [5, 5], [NAN, 0]]),
        sample("b", [[0, 0], [0, 0], [0, 0]], [[10, 0], [0, 0], [500, 0]], visibility=[1, 1, -1]),
    ]
    values = run(LandmarkMetric(), samples)
    assert values["mre"] == pytest.approx(2 / 3)
    assert values["mre_image"] == pytest.approx((1 + 0.5) / 2)
    assert values["sdr_2mm"] == pytest.approx(75)  # The point that was not predicted is no success.
    assert (values["num_missing_gt"], values["num_missing_pred"]) == (2, 1)


def test_no_spacing_names_the_sample_and_the_cures():
    metric = LandmarkMetric()
    with pytest.raises(
        ValueError, match=r"case7: no spacing.*spacing \(mm per pixel\).*reference=dict\(pair"
    ):
        metric.process(None, [sample("case7", [[0, 0]], [[0, 0]], spacing=None)])


@pytest.mark.parametrize("spacing", [None, (0.3, 0.3)])
def test_reference_length_goes_before_spacing(spacing):
    samples = [sample("a", [[0, 0], [0, 100]], [[0, 10], [0, 100]], spacing=spacing)]
    metric = LandmarkMetric(reference=dict(pair=(0, 1), mm=50.0))
    assert run(metric, samples)["mre"] == pytest.approx(2.5)
    assert "landmarks 0 and 1 (counted from 0) = 50 mm" in metric.report.to_markdown()
    normalized = LandmarkMetric(unit="normalized", reference=dict(pair=(0, 1)), radii=(0.1,))
    values = run(normalized, samples)
    assert values["mre"] == pytest.approx(0.05)
    assert values["sdr_0.1norm"] == 100


def test_beside_a_reference_every_image_has_its_own_pixels():
    """What one image says of its pixels does not depend on what another one says."""
    gt, pred = [[0, 0], [0, 50], [20, 20]], [[0, 0], [0, 50], [30, 20]]
    first = sample("a", gt, pred, spacing=(2.0, 1.0))
    alone = run(LandmarkMetric(reference=dict(pair=(0, 1), mm=50.0)), [first])
    metric = LandmarkMetric(reference=dict(pair=(0, 1), mm=50.0))
    run(metric, [first, sample("b", gt, pred, spacing=None)])
    assert alone["mre"] == pytest.approx(20 / 3)
    assert [case["errors"].tolist() for case in metric.cases] == [[0, 0, 20], [0, 0, 10]]


def test_images_of_a_patient_are_resampled_together(tmp_path):
    given = [sample(f"{n}", [[0, 0], [9, 9]], [[n, 0], [9, 9]]) for n in range(8)]
    named = [dict(one, group=f"patient {n // 2}") for n, one in enumerate(given)]
    alone, metric = LandmarkMetric(), LandmarkMetric(predictions_file=tmp_path / "p.json")
    assert run(alone, given) == run(metric, named)
    assert (alone.report.overall["groups"], metric.report.overall["groups"]) == (8, 4)
    assert "95 % of image resamplings" in alone.report.to_markdown()
    assert "95 % of resamplings of the 4 patients" in metric.report.to_markdown()
    assert alone.report.overall["interval"] != metric.report.overall["interval"]
    cases = json.loads((tmp_path / "p.json").read_text())["cases"]  # for the folds of a cross-validation
    assert [case["group"] for case in cases] == [f"patient {n // 2}" for n in range(8)]
    single = LandmarkMetric()
    run(single, given[:1])
    assert "resamplings" not in single.report.to_markdown()


def test_reference_from_the_schema():
    metric = LandmarkMetric(reference="schema")
    samples = [sample("a", [[0, 0], [0, 100]], [[0, 10], [0, 100]], spacing=None)]
    metric.dataset_meta = dict(reference_length=dict(pair=[0, 1], mm=50.0))
    assert run(metric, samples)["mre"] == pytest.approx(2.5)
    metric.dataset_meta = dict(schema="spine", reference_length=None)
    with pytest.raises(ValueError, match="'spine' has no reference_length"):
        run(metric, samples)


def test_missing_reference_names_the_sample():
    samples = [sample("bad", [[0, 0], [NAN, NAN]], [[0, 0], [0, 0]])]
    with pytest.raises(ValueError, match="bad: reference landmarks 0 and 1 are missing"):
        run(LandmarkMetric(reference=dict(pair=(0, 1), mm=1.0)), samples)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (dict(unit="cm"), "unit must be"),
        (dict(radii=()), "radii"),
        (dict(radii=(2, -1)), "radii"),
        (dict(unit="normalized"), "needs reference"),
        (dict(reference=dict(pair=(0, 1))), "reference needs"),
        (dict(reference=dict(pair=(0, 1), cm=5)), "reference needs"),
        (dict(reference=dict(pair=(0, 1, 2), mm=5)), "two indices"),
        (dict(out_file="table.xlsx"), "table.xlsx: the file name of a report must end in"),
    ],
)
def test_wrong_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        LandmarkMetric(**arguments)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(sample_id=None), "no sample_id"),
        (dict(gt_landmarks=None), "x: no gt_landmarks"),
        (dict(pred_landmarks=None), "x: no pred_landmarks"),
        (dict(pred_landmarks=torch.zeros(3, 2)), "x: .*predicted"),
        (dict(spacing=(0.1, 0.0)), "x: spacing must be 2 positive"),
    ],
)
def test_wrong_samples(change, words):
    good = sample("x", [[0, 0]], [[0, 0]])
    with pytest.raises(ValueError, match=words):
        LandmarkMetric().process(None, [{**good, **change}])


def test_disagreeing_numbers_of_landmarks():
    metric = LandmarkMetric()
    metric.dataset_meta = dict(landmark_names=["a", "b"])
    with pytest.raises(ValueError, match="predicts 1 landmarks but the dataset names 2"):
        run(metric, [sample("x", [[0, 0]], [[0, 0]])])
    with pytest.raises(ValueError, match="y: landmarks are"):
        run(LandmarkMetric(), [sample("x", [[0, 0]], [[0, 0]]), sample("y", [[0, 0]] * 2, [[0, 0]] * 2)])


def test_repeated_samples_count_once_and_disagreeing_ones_are_refused():
    a, b = sample("a", [[0, 0]], [[10, 0]]), sample("b", [[0, 0]], [[30, 0]])
    assert run(LandmarkMetric(), [a, b, a])["mre"] == pytest.approx(2)
    with pytest.raises(ValueError, match="'a' occurs twice"):
        run(LandmarkMetric(), [a, sample("a", [[5, 0]], [[0, 0]])])


def test_nothing_to_evaluate():
    with pytest.raises(ValueError, match="nothing to evaluate"):
        LandmarkMetric().evaluate(0)


def test_a_metric_can_be_used_again():
    metric = LandmarkMetric()
    assert run(metric, [sample("a", [[0, 0]], [[10, 0]])])["mre"] == pytest.approx(1)
    assert run(metric, [sample("a", [[0, 0]], [[30, 0]])])["mre"] == pytest.approx(3)


def test_names_prefix_and_files(tmp_path):
    metric = LandmarkMetric(
        per_landmark=True,
        prefix="test1",
        out_file=[tmp_path / "t.md", str(tmp_path / "t.json")],
        predictions_file=tmp_path / "p.json",
    )
    metric.dataset_meta = dict(landmark_names=["sella", "nasion"])
    values = run(
        metric,
        [sample("b", [[0, 0], [NAN, NAN]], [[10, 0], [0, 1]]), sample("a", [[0, 0]] * 2, [[0, 0]] * 2)],
    )
    assert values["test1/mre_sella"] == pytest.approx(0.5)
    assert values["test1/mre_nasion"] == 0
    assert "| sella" in (tmp_path / "t.md").read_text()
    assert json.loads((tmp_path / "t.json").read_text())["landmarks"][0]["name"] == "sella"
    saved = json.loads((tmp_path / "p.json").read_text())
    assert saved["landmark_names"] == ["sella", "nasion"]
    assert [case["sample_id"] for case in saved["cases"]] == ["a", "b"]
    assert saved["cases"][1]["errors"] == [pytest.approx(1), None]
    assert saved["cases"][1]["pred"] == [[10, 0], [0, 1]]


def test_coordinate_metric():
    samples = [sample("a", [[10, 10], [20, 50]], [[15, 10], [20, 50]], spacing=None)]
    values = run(CoordinateMetric(), [{**samples[0], "ori_shape": (100, 50)}])
    assert values["coordinate_mse"] == pytest.approx(0.1**2 / 4)
    fractions = np.array([0.2, 0.1, 0.4, 0.5]), np.array([0.3, 0.1, 0.4, 0.5])
    assert values["pearson_rho"] == pytest.approx(np.corrcoef(*fractions)[0, 1])
    with pytest.raises(ValueError, match="a: ori_shape"):
        CoordinateMetric().process(None, [{**samples[0], "ori_shape": None}])


def evaluate_share(folder, rank, world):
    """Write what one of several processes reports, which has a share of the cases."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world
    )
    metric = LandmarkMetric(collect_dir=f"{folder}/parts")
    metric.process(None, json.loads((folder / f"share{rank}.json").read_text()))
    (folder / f"values{rank}.json").write_text(json.dumps(metric.evaluate(7)))
    torch.distributed.destroy_process_group()


# A distributed sampler deals 0 2 4 6 | 1 3 5 0, where the last one fills up; others repeat elsewhere.
@pytest.mark.parametrize(
    "shares", [([0, 2, 4, 6], [1, 3, 5, 0]), ([6, 0, 1, 2], [6, 3, 4, 5]), ([0, 2, 4, 6, 5, 3], [1])]
)
def test_two_processes_report_what_one_does(tmp_path, shares):
    rng = np.random.default_rng(0)
    samples = [
        dict(
            sample_id=f"case{i}",
            gt_landmarks=gt.tolist(),
            pred_landmarks=(gt + rng.normal(0, 20, gt.shape)).tolist(),
            spacing=[0.1, 0.1],
        )
        for i, gt in enumerate(rng.uniform(0, 100, (7, 3, 2)))
    ]
    workers = []
    for rank, share in enumerate(shares):
        (tmp_path / f"share{rank}.json").write_text(json.dumps([samples[i] for i in share]))
        workers.append(forked(evaluate_share, tmp_path, rank, 2, daemon=True))
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    alone = run(LandmarkMetric(), samples)
    for rank in range(2):
        assert json.loads((tmp_path / f"values{rank}.json").read_text()) == alone
