"""The figure of single landmarks over validations, from the logs of runs."""

from __future__ import annotations

import json

import cv2
import pytest

from mmlandmark.apis.curve_figures import landmark_curves
from mmlandmark.cli import invoke
from mmlandmark.engine import ConfigError


def write(folder, run, began, rows):
    """Write a log as MMEngine does: losses of iterations, and metrics of validations."""
    file = folder / run / began / "vis_data" / "scalars.json"
    file.parent.mkdir(parents=True)
    lines = [dict(lr=0.1, loss=1.0, epoch=1, iter=10, step=10), *rows]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def validation(epoch, **errors):
    own = {f"mre_{name}": error for name, error in errors.items()}
    return dict(mre=1.0, mre_sd=0.5, mre_median=1.0, mre_p95=9.0, mre_image=1.0, **own, step=epoch)


def test_a_resumed_run_goes_on_and_a_later_stage_takes_the_place_of_one_before(tmp_path):
    write(tmp_path, "01_ssl", "20260101_1", [validation(1, sella=9.0)])
    write(tmp_path, "02_tpl", "20260101_2", [validation(1, sella=3.0, nasion=4.0), validation(2, sella=2.5)])
    # Stopped after its second epoch, which was not saved.
    write(tmp_path, "02_tpl", "20260101_3", [validation(2, sella=2.0), validation(4, sella=1.0)])
    assert landmark_curves(tmp_path) == {
        "sella": dict(part=[0.25, 0.5, 1.0], mre=[3.0, 2.0, 1.0]),
        "nasion": dict(part=[1.0], mre=[4.0]),
    }


def test_one_figure_compares_a_model_per_landmark_with_one_of_all(tmp_path, capsys):
    write(tmp_path / "single", "00_sella", "20260101_1", [validation(2, sella=2.0), validation(4, sella=1.0)])
    write(tmp_path / "single", "01_nasion", "20260101_1", [validation(4, nasion=3.0)])
    write(tmp_path, "joint", "20260101_1", [validation(1, sella=2.0, nasion=1.0, menton=5.0)])
    out = tmp_path / "curves.png"
    sources = [f"{name}={tmp_path / name}" for name in ("joint", "single")]
    invoke("draw-figures", ["landmark-curves", *sources, "--out", str(out)])
    assert capsys.readouterr().out == f"wrote {out}\n"
    numbers = json.loads(out.with_suffix(".json").read_text())
    assert {run: sorted(curves) for run, curves in numbers.items()} == dict(
        joint=["nasion", "sella"], single=["nasion", "sella"]
    )
    assert numbers["single"]["sella"] == dict(part=[0.5, 1.0], mre=[2.0, 1.0])
    one = tmp_path / "one.png"
    invoke("draw-figures", ["landmark-curves", *sources, "--landmarks", "nasion", "--out", str(one)])
    assert list(json.loads(one.with_suffix(".json").read_text())["joint"]) == ["nasion"]
    assert cv2.imread(str(one)).shape[1] < cv2.imread(str(out)).shape[1]


def test_what_was_not_validated_is_named(tmp_path):
    write(tmp_path, "joint", "20260101_1", [validation(1, sella=2.0)])
    write(tmp_path, "other", "20260101_1", [validation(1, nasion=2.0)])
    write(tmp_path, "none", "20260101_1", [validation(1)])
    out = ["--out", str(tmp_path / "curves.png")]
    with pytest.raises(ConfigError, match=r"none: .* set val_evaluator.per_landmark=True"):
        invoke("draw-figures", ["landmark-curves", str(tmp_path / "none"), *out])
    both = [str(tmp_path / "joint"), str(tmp_path / "other")]
    with pytest.raises(ConfigError, match=r"other: no validation of \['sella'\]; there are nasion"):
        invoke("draw-figures", ["landmark-curves", *both, "--landmarks", "sella", *out])
    with pytest.raises(ConfigError, match="no validation of a landmark that all runs have"):
        invoke("draw-figures", ["landmark-curves", *both, *out])
    with pytest.raises(FileNotFoundError, match="no such folder"):
        invoke("draw-figures", ["landmark-curves", str(tmp_path / "nothing"), *out])
    assert not (tmp_path / "curves.png").exists()
