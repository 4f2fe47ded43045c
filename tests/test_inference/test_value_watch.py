"""An image of which a detector sees next to nothing is warned of, once."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from mmlandmark.datasets.transforms import LoadImage, NormalizeIntensity
from mmlandmark.inference import LandmarkInferencer
from mmlandmark.inference.value_watch import ValueWatch, odd_values
from mmlandmark.testing import tiny_model

GREY = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)


@pytest.fixture
def said(monkeypatch):
    texts = []
    monkeypatch.setattr("mmlandmark.inference.value_watch.print_log", lambda text, *_: texts.append(text))
    return texts


def words(array, black, white):
    return odd_values(torch.from_numpy(np.asarray(array))[None], (black, white))[1]


@pytest.mark.parametrize(
    ("array", "white", "part"),
    [
        (GREY.astype(np.float32), 1.0, "takes 0 for black and 1 for white, so it is far too bright"),
        (GREY.astype(np.uint16) * 16, 65535.0, "0 for black and 65535 for white, so it is almost black"),
        (GREY / np.float32(255), 255.0, "almost black: unless the images of the training were alike"),
        (GREY / np.float32(255) + 100, 1.0, "so it is almost white"),
        (GREY / np.float32(2550) + np.float32(0.5), 1.0, "so it is almost of one grey"),
        (np.zeros((8, 8), np.uint8), 255.0, "nearly all of its pixels are 0, so there is nothing to see"),
    ],
)
def test_what_is_odd_is_named(array, white, part):
    assert part in words(array, 0.0, white)


def test_marks_and_metal_do_not_count():
    dark = GREY.astype(np.uint16) * 16
    dark[:2, :4] = 65535  # a letter that was burnt in
    assert "its values lie from 16 to 4080" in words(dark, 0.0, 65535.0)
    bright = GREY.copy()
    bright[0, :4] = 0
    assert words(bright, 0.0, 255.0) == ""


@pytest.mark.parametrize(
    ("array", "black", "white"),
    [
        (GREY, 0.0, 255.0),
        (GREY // 4, 0.0, 255.0),
        (GREY / np.float32(255), 0.0, 1.0),
        (GREY.astype(np.int16) * 12 - 1000, -1000.0, 2000.0),
        ((GREY / np.float32(64) - 2), 0.0, 1.0),
    ],
)
def test_usual_values_are_nothing_to_say(array, black, white):
    assert words(array, black, white) == ""


def test_a_prediction_warns_once_and_names_the_file(tmp_path, said):
    cv2.imwrite(str(tmp_path / "a.png"), GREY)
    for name in ("b", "c"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), GREY.astype(np.uint16) * 16)
    inferencer = LandmarkInferencer(tiny_model(), "cpu", batch_size=1)
    assert len(inferencer(tmp_path)) == 3
    (text,) = said
    inferencer([np.zeros((64, 64), np.uint8), GREY.astype(np.uint16)])
    assert "'array_1': nearly all of its pixels are 0" in said.pop(), "another kind of its own"
    assert text.startswith(f"image {str(tmp_path / 'b.png')!r}: its values lie from ")
    assert "(logged once; further images may be alike)" in text
    LandmarkInferencer(tiny_model(), "cpu")(GREY.astype(np.float32))
    assert "image 'array_1': its values lie from 1 to 254" in said[1]


def test_a_pipeline_that_sets_the_range_takes_any_values():
    assert ValueWatch([LoadImage(), NormalizeIntensity()]).any_values
    assert not ValueWatch([LoadImage()]).any_values
