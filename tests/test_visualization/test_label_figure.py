"""The figure of pseudo labels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmlandmark.visualization import style
from mmlandmark.visualization.label_figure import plot_label_errors, plot_labels, plot_rounds


def test_errors_are_drawn_where_they_are_known(tmp_path):
    rows = [dict(epoch=n, landmarks=50, adjusted=10 * n, masked=20 - n) for n in range(3)]
    heights = [cv2.imread(str(plot_rounds(rows, tmp_path / "a.png"))).shape[0]]
    for row in rows:
        row.update(error_predicted=3.0, error_kept=2.0, error_masked=None, unit="mm")
    heights.append(cv2.imread(str(plot_rounds(rows, tmp_path / "b.png"))).shape[0])
    assert heights[1] > heights[0] > 100


def test_labels_and_hidden_annotations_are_drawn_where_they_are_known(tmp_path):
    image = np.zeros((60, 80, 3), dtype=np.uint8)
    image[20, 30] = 255
    points = np.array([[30.0, 20.0], [40.0, 20.0]])
    row = dict(name="a", image=image, predicted=points, labels=points, kept=[True, False], truth=points[0])
    picture = cv2.imread(str(plot_labels([row], ["one", "two"], tmp_path / "a.png")))
    blue = np.argwhere(np.abs(picture.astype(int) - (233, 180, 86)).sum(axis=2) < 30)
    assert len(blue) > 20, "what is learnt from is drawn"
    row["truth"] = np.full(2, np.nan)
    row["kept"] = [False, False]
    other = cv2.imread(str(plot_labels([row], ["one", "two"], tmp_path / "b.png")))
    green = (np.abs(picture.astype(int) - (115, 158, 0)).sum(axis=2) < 30).sum()
    assert green > 10
    assert (np.abs(other.astype(int) - (115, 158, 0)).sum(axis=2) < 30).sum() == 0


def test_errors_of_arms_are_means_of_the_epochs_that_all_seeds_have(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        "matplotlib.axes.Axes.plot",
        lambda self, xs, ys, line, **options: drawn.update({(options["color"], line): (xs, ys)}),
    )
    seeds = {
        "0": dict(epoch=[0, 2, 4], predicted=[3.0, 2.0, 1.0], kept=[3.0, 2.0, 1.0]),
        "1": dict(epoch=[0, 2], predicted=[5.0, 3.0], kept=[5.0, 3.0]),
    }
    masked = {key: dict(epoch=[0, 2], predicted=[3.0, 2.0], kept=[None, 1.5]) for key in "01"}
    studies = {"films": dict(unit="mm", arms={"naive": seeds, "ours": masked})}
    assert cv2.imread(str(plot_label_errors(studies, tmp_path / "a.png"))) is not None
    naive, ours = (style.hex_color(color) for color in style.CYCLE[:2])
    assert drawn == {
        (naive, "-"): ([0, 2], [4.0, 2.5]),
        (ours, "-"): ([0, 2], [3.0, 2.0]),
        (ours, "--"): ([2], [1.5]),
    }


def test_an_arm_that_fails_does_not_hide_the_others(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(style, "save_figure", lambda canvas, path: drawn.append(canvas))
    runs = [dict(epoch=[0, 1], predicted=[2.0, end], kept=[2.0, end]) for end in (1.9, 50.0)]
    one, two = ({"0": run} for run in runs)
    studies = {"one": dict(unit="mm", arms={"a": one}), "two": dict(unit="mm", arms={"a": one, "b": two})}
    plot_label_errors(studies, tmp_path / "a.png")
    whole, cut = drawn[0].axes
    assert whole.get_ylim()[1] < 2.1
    assert not whole.texts
    assert cut.get_ylim() == pytest.approx((0.97 * 1.9, 1.3 * 2.0))
    assert [text.get_text() for text in cut.texts] == ["b up to 50 mm"]


def test_arms_are_compared_by_the_seeds_that_all_have(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(style, "save_figure", lambda canvas, path: drawn.append(canvas))
    good, bad = (dict(epoch=[0, 1], predicted=[error] * 2, kept=[error] * 2) for error in (1.0, 2.0))
    common = dict(a={"0": bad, "10": good, "9": good}, b={"10": good, "9": good})
    apart = dict(a={"0": bad}, b={"1": good})
    plot_label_errors(
        {"x": dict(unit="mm", arms=common), "y": dict(unit="mm", arms=apart)}, tmp_path / "a.png"
    )
    one, two = drawn[0].axes
    assert one.get_title(loc="left") == "x, seeds 9, 10"
    assert [line.get_ydata().tolist() for line in one.lines] == [[1.0, 1.0]] * 2
    assert two.get_title(loc="left") == "y, seeds 0, 1"
    assert [line.get_ydata()[0] for line in two.lines] == [2.0, 1.0]


def test_no_two_arms_look_the_same_and_long_curves_have_few_marks(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(style, "save_figure", lambda canvas, path: drawn.append(canvas))
    run = dict(epoch=list(range(80)), predicted=[1.0] * 80, kept=[1.0] * 80)
    arms = {f"arm{index}": {"0": run} for index in range(len(style.CYCLE) + 2)}
    plot_label_errors({"x": dict(unit="mm", arms=arms)}, tmp_path / "a.png")
    lines = drawn[0].axes[0].lines
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == len(arms)
    assert all(80 / line.get_markevery() <= 16 for line in lines)
