"""Figures of runs: what is read, and that a legible PNG comes out."""

from __future__ import annotations

import json
import sys

import cv2
import numpy as np
import pytest

from mmlandmark.visualization import curves, style


@pytest.fixture
def scalars(tmp_path):
    rows = []
    for epoch in range(1, 4):
        for step in range(epoch * 10 - 9, epoch * 10 + 1):
            rows.append(
                dict(loss=1 / step, loss_heatmap=1 / step, lr=1e-3, epoch=epoch, iter=step, step=step)
            )
        rows.append(
            {"mre": 5 / epoch, "sdr_2mm": 70 + epoch, "sdr_10mm": 90.0, "sdr_2.5mm": 80.0, "step": epoch}
        )
    path = tmp_path / "scalars.json"
    path.write_text("\n".join(json.dumps(row) for row in rows) + '\n{"loss": 0.0')
    return path


def picture(path):
    image = cv2.imread(str(path))
    assert image is not None
    assert image.std() > 5
    return image


def test_read_scalars_drops_the_line_a_killed_run_left(scalars):
    assert len(curves.read_scalars(scalars)) == 33
    assert len(curves.read_scalars([scalars, scalars])) == 66


def test_read_scalars_names_file_and_line(tmp_path):
    path = tmp_path / "s.json"
    path.write_text('{"loss": 1}\n{oops\n{"loss": 2}\n')
    with pytest.raises(ValueError, match=r"s\.json: line 2 is not JSON"):
        curves.read_scalars(path)
    path.write_text("3\n")
    with pytest.raises(ValueError, match=r"line 1 is not a JSON object"):
        curves.read_scalars(path)


def test_panels_hold_the_right_series(scalars):
    rows = curves.read_scalars(scalars)
    train, val = [row for row in rows if "loss" in row], [row for row in rows if "mre" in row]
    _, x_label, series, log = curves._loss_panel(train)
    assert (x_label, log, list(series)) == ("iteration", True, ["loss"])
    assert series["loss"][0] == list(range(1, 31))
    mre, sdr = curves._val_panels(val, train)
    assert mre[:2] == ("Validation MRE (mm)", "epoch")
    assert mre[2] == {"mre": ([1, 2, 3], [5.0, 2.5, pytest.approx(5 / 3)])}
    assert list(sdr[2]) == ["sdr_2mm", "sdr_2.5mm", "sdr_10mm"]


def test_a_resumed_step_counts_once():
    assert curves._series([dict(step=1, loss=5), dict(step=2, loss=4), dict(step=1, loss=3)], "loss") == (
        [1, 2],
        [3, 4],
    )


def test_plot_training(scalars, tmp_path):
    image = picture(curves.plot_training(scalars, tmp_path / "out" / "training.png"))
    assert image.shape[1] > 1000
    val_only = tmp_path / "val.json"
    val_only.write_text('{"test1/mre": 1.0, "step": 1}\n')
    picture(curves.plot_training(val_only, tmp_path / "val.png"))
    val_only.write_text('{"time": 1.0, "step": 1}\n')
    with pytest.raises(ValueError, match="no training loss"):
        curves.plot_training(val_only, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_plot_errors_with_missing_ones(tmp_path):
    errors = np.random.default_rng(0).gamma(2, 1, (40, 3))
    errors[0, 0], errors[:, 2], errors[1, 1] = np.nan, np.nan, 90
    picture(curves.plot_landmark_errors(errors, ["a", "b", "never"], tmp_path / "box.png", radius=2))
    picture(curves.plot_cumulative_errors({"one": errors, "two": errors / 2}, tmp_path / "cum.png"))
    with pytest.raises(ValueError, match="all are missing"):
        curves.plot_landmark_errors(errors[:, 2:], ["never"], tmp_path / "x.png")
    with pytest.raises(ValueError, match="disagree"):
        curves.plot_landmark_errors(errors, ["a"], tmp_path / "x.png")
    with pytest.raises(ValueError, match="no run"):
        curves.plot_cumulative_errors({}, tmp_path / "x.png")


def test_read_errors(tmp_path):
    path = tmp_path / "p.json"
    path.write_text(json.dumps(dict(unit="mm", landmark_names=["a", "b"], cases=[dict(errors=[1.0, None])])))
    errors, names, unit = curves.read_errors(path)
    np.testing.assert_array_equal(errors, [[1, np.nan]])
    assert (names, unit) == (["a", "b"], "mm")
    path.write_text("[]")
    with pytest.raises(ValueError, match=r"p\.json: not a predictions file"):
        curves.read_errors(path)


def test_missing_matplotlib_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="pip install matplotlib"), style.figure():
        pass


def test_the_style_does_not_leak(tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    curves.plot_cumulative_errors({"a": np.ones((2, 2))}, tmp_path / "a.png")
    assert dict(matplotlib.rcParams) == before
