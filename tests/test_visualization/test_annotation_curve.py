"""The figure of what further annotated images are worth."""

from __future__ import annotations

import cv2
import pytest

from mmlandmark.visualization import style
from mmlandmark.visualization.annotation_curve import plot_annotation_curve


def test_every_method_is_a_curve_in_every_panel(tmp_path):
    curves = {1: dict(mre=3.0, sdr_2mm=40.0), 10: dict(mre=2.0, sdr_2mm=60.0)}
    methods = {"templates": curves, "student": {1: dict(mre=2.5, sdr_2mm=50.0)}}
    path = plot_annotation_curve(methods, tmp_path / "a.png", ("mre", "sdr_2mm"))
    pixels = cv2.imread(str(path))[..., ::-1]
    for half in (pixels[:, : pixels.shape[1] // 2], pixels[:, pixels.shape[1] // 2 :]):
        colours = {tuple(map(int, pixel)) for pixel in half[: half.shape[0] * 4 // 5].reshape(-1, 3)}
        assert {style.BLUE, style.VERMILLION} <= colours
        assert style.GREEN not in colours


@pytest.mark.parametrize(("methods", "metrics"), [({}, ("mre",)), ({"a": {1: dict(mre=1.0)}}, ())])
def test_nothing_to_draw(tmp_path, methods, metrics):
    with pytest.raises(ValueError, match="there is no method, number of images or metric"):
        plot_annotation_curve(methods, tmp_path / "a.png", metrics)
    assert not list(tmp_path.iterdir())
