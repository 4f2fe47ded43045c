"""The preprocessor: channels, normalisation, padding."""

import pytest
import torch

from mmlandmark.models import LandmarkDataPreprocessor


def run(images, **kwargs):
    return LandmarkDataPreprocessor(**kwargs)(dict(inputs=images, data_samples=None))["inputs"]


def test_normalises_and_repeats_grey():
    out = run([torch.full((1, 4, 5), 0.5)] * 2, mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 0.5), channels=3)
    assert out.shape == (2, 3, 4, 5)
    torch.testing.assert_close(out[0, :, 0, 0], torch.tensor([0.4, 0.15, 0.4]))


def test_colour_becomes_grey_by_luma():
    image = torch.stack([torch.ones(2, 2), torch.zeros(2, 2), torch.zeros(2, 2)])
    torch.testing.assert_close(run([image], channels=1), torch.full((1, 1, 2, 2), 0.299))


@pytest.mark.parametrize("size", [(5, 9), (5, 9, 6)])
def test_padding_lies_behind_the_image(size):
    image = torch.rand(1, *size)
    out = run([image], size_divisor=4)
    assert out.shape[2:] == tuple(-(-s // 4) * 4 for s in size)
    inside = out[(0, slice(None), *[slice(s) for s in size])]
    torch.testing.assert_close(inside, image)
    assert float(out.sum()) == pytest.approx(float(image.sum()), rel=1e-5)


def test_errors():
    with pytest.raises(ValueError, match="differ in shape"):
        run([torch.zeros(1, 4, 4), torch.zeros(1, 4, 5)])
    with pytest.raises(ValueError, match=r"takes 1 channel\(s\), the image has 2"):
        run([torch.zeros(2, 4, 4)], channels=1)
    with pytest.raises(ValueError, match="std must be positive"):
        LandmarkDataPreprocessor(std=0)
