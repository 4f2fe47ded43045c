"""Paired tests, of arrays and of records."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from mmlandmark.evaluation import compare_records, paired_test, read_records
from mmlandmark.visualization import plot_differences


def test_equals_the_tests_of_scipy():
    rng = np.random.default_rng(0)
    first, second = rng.random(40), rng.random(40) + 0.1
    found = paired_test(first, second)
    assert found.images == 40
    assert found.difference == pytest.approx(np.mean(first - second))
    assert found.t_p == pytest.approx(stats.ttest_rel(first, second).pvalue)
    assert found.wilcoxon_p == pytest.approx(stats.wilcoxon(first, second).pvalue)
    half = stats.t.ppf(0.975, 39) * stats.sem(first - second)
    np.testing.assert_allclose(found.interval, [found.difference - half, found.difference + half])


def test_missing_images_drop_out_of_both():
    found = paired_test(np.array([1.0, np.nan, 3.0, 2.0]), np.array([2.0, 1.0, np.nan, 4.0]))
    assert (found.images, found.difference) == (2, -1.5)


def test_equal_methods_do_not_differ():
    found = paired_test(np.ones(5), np.ones(5))
    assert (found.difference, found.t_p, found.wilcoxon_p) == (0.0, 1.0, 1.0)


@pytest.mark.parametrize("step", [0.5, 0.1, -1 / 3])
@pytest.mark.parametrize("images", [2, 6, 20])
def test_a_spread_of_nothing_proves_nothing(step, images):
    first = np.linspace(1, 6, images)
    found = paired_test(first, first - step)
    assert found.difference == pytest.approx(step)
    assert np.isnan([found.t_p, *found.interval]).all()
    assert found.t_text == "-"
    assert found.wilcoxon_p == stats.wilcoxon(np.full(images, step)).pvalue
    assert 0 < found.wilcoxon_p <= 0.5


def test_differences_that_are_small_are_still_tested():
    rng = np.random.default_rng(0)
    first, step = rng.random(20), 1e-9 * rng.random(20)
    expected = stats.ttest_1samp(first - (first - step), 0).pvalue
    assert paired_test(first, first - step).t_p == pytest.approx(expected)


def test_rounding_is_no_difference():
    first = np.linspace(1, 6, 7)
    second = (first + 0.1 + 0.2) - 0.3
    assert (first != second).any()
    found = paired_test(first, second)
    assert (found.difference, found.t_p, found.wilcoxon_p) == (0.0, 1.0, 1.0)
    second[3] += 0.5
    found = paired_test(first, second)
    assert found.wilcoxon_p == 1.0  # one pair that differs
    assert found.t_p == pytest.approx(stats.ttest_1samp(np.eye(7)[0] / 2, 0).pvalue)
    assert paired_test(np.zeros(3), np.zeros(3)).wilcoxon_p == 1.0


def test_a_patient_is_one_observation():
    rng = np.random.default_rng(0)
    first, second = rng.random(12), rng.random(12) + 0.3
    groups = np.repeat([0, 1, 2, 3], 3)
    first[4] = np.nan
    means = [np.nanmean((first - second)[groups == n]) for n in range(4)]
    found = paired_test(first, second, groups)
    assert (found.images, found.units) == (4, "patients")
    assert found.difference == pytest.approx(np.mean(means))
    assert found.t_p == pytest.approx(stats.ttest_1samp(means, 0).pvalue)
    assert paired_test(first, second).images == 11
    with pytest.raises(ValueError, match="12 images need as many groups, got 3"):
        paired_test(first, second, [0, 1, 2])
    with pytest.raises(ValueError, match="at least two patients, got 1"):
        paired_test(first, second, [0] * 12)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [(np.ones(3), np.ones(4), "the same images"), (np.ones(1), np.zeros(1), "at least two images, got 1")],
)
def test_bad_pairs_are_named(first, second, message):
    with pytest.raises(ValueError, match=message):
        paired_test(first, second)


def write(folder, name, seed, errors, split="s", unit="mm"):
    data = dict(
        config="c", seed=seed, config_hash=name, metrics=dict(mre=1.0), split=dict(images=3, hash=split)
    )
    if errors is not None:
        data["image_errors"] = dict(unit=unit, mean=errors)
    (folder / f"{name}_seed{seed}.json").write_text(json.dumps(data))


def test_records_of_several_seeds_are_averaged_by_image(tmp_path):
    write(tmp_path, "a", 0, [1.0, 2.0, 3.0])
    write(tmp_path, "a", 1, [2.0, 4.0, 3.0])
    write(tmp_path, "b", 2, [2.0, 2.0, 4.0])
    groups = read_records(tmp_path.glob("*.json"), by_file=True)
    found = compare_records(groups["a"], groups["b"])
    assert found == paired_test(np.array([1.5, 3.0, 3.0]), np.array([2.0, 2.0, 4.0]))


def test_records_know_the_patients_of_their_images(tmp_path):
    write(tmp_path, "old", 0, [1.0, 2.0, 3.0])
    write(tmp_path, "new", 0, [2.0, 2.0, 4.0])
    path = tmp_path / "new_seed0.json"
    content = json.loads(path.read_text())
    content["image_errors"]["groups"] = [0, 0, 1]
    path.write_text(json.dumps(content))
    groups = read_records(tmp_path.glob("*.json"), by_file=True)
    found = compare_records(groups["old"], groups["new"])
    assert found == paired_test(np.array([1.5, 3.0]), np.array([2.0, 4.0]), [0, 1])


def test_seeds_that_one_method_lacks_do_not_count(tmp_path):
    write(tmp_path, "a", 0, [1.0, 2.0, 3.0])
    write(tmp_path, "a", 1, [2.0, 4.0, 3.0])
    write(tmp_path, "b", 0, [2.0, 2.0, 4.0])
    groups = read_records(tmp_path.glob("*.json"), by_file=True)
    expected = paired_test(np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 4.0]))
    assert compare_records(groups["a"], groups["b"]) == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(errors=None), "has no errors of single images; record the test again"),
        (dict(split="other"), "not tested on the same images"),
        (dict(unit="px"), "in one unit"),
    ],
)
def test_records_that_cannot_be_compared_are_named(tmp_path, changes, message):
    write(tmp_path, "a", 0, [1.0, 2.0, 3.0])
    write(tmp_path, "b", 0, **{"errors": [1.0, 2.0, 4.0], **changes})
    groups = read_records(tmp_path.glob("*.json"), by_file=True)
    with pytest.raises(ValueError, match=rf"b_seed0\.json.*{message}"):
        compare_records(groups["a"], groups["b"])


def test_millimetres_by_other_lengths_are_not_compared(tmp_path):
    for name, source in (
        ("a", None),
        ("b", "spacing of every image"),
        ("c", "distance of landmarks 0 and 4"),
    ):
        write(tmp_path, name, 0, [1.0, 2.0, 3.0 + len(name)])
        path = tmp_path / f"{name}_seed0.json"
        content = json.loads(path.read_text())
        content["image_errors"] |= {} if source is None else dict(scale_source=source)
        path.write_text(json.dumps(content))
    groups = read_records(tmp_path.glob("*.json"), by_file=True)
    assert compare_records(groups["a"], groups["c"]).images == 3  # an older record does not say
    with pytest.raises(
        ValueError, match=r"b_seed0\.json and .*c_seed0\.json do not measure .* the same length"
    ):
        compare_records(groups["b"], groups["c"])


def test_a_test_that_does_not_exist_is_drawn_without_one(tmp_path):
    first = np.linspace(1, 2, 5)
    tests = dict(alike=paired_test(first, first + 0.1), other=paired_test(first, first[::-1]))
    assert plot_differences(tests, tmp_path / "a.png", against="base").stat().st_size > 1000


def test_nothing_to_draw_is_said(tmp_path):
    with pytest.raises(ValueError, match="nothing to compare 'none' with"):
        plot_differences({}, tmp_path / "a.png", against="none")
