"""The preprocessor: channels, normalisation, padding."""

import numpy as np
import pytest
import torch

from mmlandmark.datasets.transforms.intensity import to_unit
from mmlandmark.models import LandmarkDataPreprocessor
from mmlandmark.structures import LandmarkDataSample


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


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32])
def test_integers_become_what_the_pipeline_would_have_made_of_them(dtype):
    # The same bits, so that a run gives the same weights wherever floats are made.
    image = np.random.default_rng(0).integers(0, 250, (1, 6, 7, 8)).astype(dtype)
    ends = (-3.0, 4095.0)
    sample = LandmarkDataSample(metainfo=dict(value_range=ends))
    batch = dict(inputs=[torch.from_numpy(image)] * 2, data_samples=[sample, sample.clone()])
    out = LandmarkDataPreprocessor(mean=0.4, std=0.3)(batch)["inputs"]
    unit = torch.from_numpy(to_unit(image, ends))
    expected = (unit - torch.tensor(0.4)) / torch.tensor(0.3)
    assert torch.equal(out, torch.stack([expected, expected]))


def test_a_batch_may_mix_dtypes():
    images = [torch.full((1, 4, 4), 255, dtype=torch.uint8), torch.full((1, 4, 4), 1000, dtype=torch.int16)]
    samples = [LandmarkDataSample(metainfo=dict(value_range=(0.0, white))) for white in (255.0, 2000.0)]
    out = LandmarkDataPreprocessor()(dict(inputs=images, data_samples=samples))["inputs"]
    assert out[:, 0, 0, 0].tolist() == [1.0, 0.5]


def test_errors():
    with pytest.raises(ValueError, match="differ in shape"):
        run([torch.zeros(1, 4, 4), torch.zeros(1, 4, 5)])
    with pytest.raises(ValueError, match=r"takes 1 channel\(s\), the image has 2"):
        run([torch.zeros(2, 4, 4)], channels=1)
    with pytest.raises(ValueError, match="std must be positive"):
        LandmarkDataPreprocessor(std=0)
