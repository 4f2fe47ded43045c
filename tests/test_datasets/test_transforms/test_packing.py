"""PackInputs, and the pipeline as a whole."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

import mmlandmark.datasets.transforms as T
from mmlandmark.datasets.transforms.intensity import to_unit


def make_record(shape=(60, 50), dtype=np.uint8, **more):
    rng = np.random.default_rng(0)
    dims = 2 if len(shape) == 2 or shape[-1] == 3 else 3
    return dict(
        sample_id="case 1",
        img_path=None,
        img=(rng.random(shape) * (1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max)).astype(dtype),
        landmarks=np.array([[10.0] * dims, [np.nan] * dims], np.float32),
        spacing=np.full(dims, 0.1),
        group="patient 4",
        rng=np.random.default_rng(7),
        flip_pairs=[[0, 1]],
        **more,
    )


def run(record, *steps):
    for step in steps:
        record = step(record)
    return record


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize(
    ("shape", "packed"), [((60, 50), (1, 60, 50)), ((60, 50, 3), (3, 60, 50)), ((9, 8, 7), (1, 9, 8, 7))]
)
def test_inputs(shape, packed, dtype):
    record = make_record(shape, dtype)
    image = record["img"]
    packed_sample = run(record, T.LoadImage(), T.PackInputs())
    inputs = packed_sample["inputs"]
    assert inputs.dtype == getattr(torch, np.dtype(dtype).name)
    assert inputs.shape == packed
    assert inputs.is_contiguous()
    pixels = packed_sample["data_samples"].unit_pixels(inputs)
    expected = to_unit(image if image.shape == packed[1:] else np.moveaxis(image, -1, 0))
    np.testing.assert_array_equal(pixels.reshape(expected.shape).numpy(), expected)
    assert pixels.dtype == torch.float32
    inputs.zero_()  # the tensor belongs to the batch alone
    assert image.max() > 0


def test_data_sample():
    record = make_record(visibility=np.array([1, -1], np.int8), weights=np.array([2, 3], np.float32))
    sample = run(record, T.LoadImage((30, 25)), T.Resize((20, 20)), T.Resample(), T.PackInputs())[
        "data_samples"
    ]
    assert sample.sample_id == "case 1"
    assert sample.ori_shape == (60, 50)
    assert sample.input_shape == (20, 20)
    assert sample.spacing == (0.1, 0.1)
    assert sample.flip_pairs == ((0, 1),)
    assert sample.group == "patient 4"
    assert sample.img_path is None
    assert sample.gt_visibility.tolist() == [1, -1]
    assert sample.gt_weights.tolist() == [2, 3]
    expected = [(10.5) * 20 / 50 - 0.5, (10.5) * 20 / 60 - 0.5]
    np.testing.assert_allclose(sample.to_input(sample.gt_landmarks)[0], expected, rtol=1e-5)
    np.testing.assert_allclose(
        sample.to_original(sample.to_input(sample.gt_landmarks))[0], [10, 10], rtol=1e-5
    )


def test_meta_keys():
    sample = run(make_record(angles=[1.0, 2.0]), T.LoadImage(), T.PackInputs(meta_keys=("angles",)))[
        "data_samples"
    ]
    assert sample.angles == [1.0, 2.0]
    assert "group" not in sample


@pytest.mark.parametrize(
    "step", [T.RandomFlip(1.0), T.Resize((30, 30)), T.Pad((70, 70)), T.RandomElastic(0.06)]
)
def test_waiting_geometry_is_refused(step):
    record = run(make_record(), T.LoadImage(), step)
    with pytest.raises(ValueError, match=r"case 1.*put Resample before PackInputs"):
        T.PackInputs()(record)


def test_geometry_that_moves_nothing_needs_no_resampling():
    record = run(make_record(), T.LoadImage(), T.Resize((60, 50), keep_aspect=True))
    assert T.PackInputs()(record)["inputs"].shape == (1, 60, 50)


@pytest.mark.parametrize("shape", [(60, 50), (9, 8, 7)])
def test_an_image_alone_becomes_a_sample_without_annotation(shape):
    whole = make_record(shape)
    alone = {key: whole[key] for key in ("sample_id", "img")}
    steps = T.LoadImage(), T.Resize(tuple(n // 2 for n in shape)), T.Resample(), T.PackInputs()
    packed, annotated = run(alone, *steps), run(whole, *steps)
    assert torch.equal(packed["inputs"], annotated["inputs"])
    sample = packed["data_samples"]
    assert "gt_landmarks" not in sample
    assert "gt_visibility" not in sample
    assert sample.sample_id == "case 1"
    assert sample.ori_shape == shape
    np.testing.assert_array_equal(sample.input_from_original, annotated["data_samples"].input_from_original)


def test_bad_landmarks_name_the_sample():
    record = make_record()
    record["landmarks"] = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"case 1.*3D landmarks"):
        run(record, T.LoadImage(), T.PackInputs())


def test_landmarks_far_outside_are_refused_when_the_image_is_read():
    record = make_record()
    record["landmarks"] = np.full_like(record["landmarks"], 1e5)
    with pytest.raises(ValueError, match=r"case 1.*landmark 0 at .* is far outside the image"):
        run(record, T.LoadImage(), T.PackInputs())


STEPS = [
    T.LoadImage((50, 40)),
    T.Resize((40, 40), keep_aspect=True),
    T.RandomFlip(),
    T.RandomAffine(10, 0.1, 0.125),
    T.RandomElastic(0.05, prob=0.5),
    T.Resample(),
    T.RandomGamma(),
    T.RandomBrightnessContrast(),
    T.RandomNoise(),
    T.RandomBlur(),
    T.PackInputs(),
]


def test_pipeline_is_deterministic_and_travels_to_workers():
    first = run(make_record(), *STEPS)
    np.random.seed(1)  # the global state of random numbers must not matter
    again = run(make_record(), *pickle.loads(pickle.dumps(STEPS)))
    assert torch.equal(first["inputs"], again["inputs"])
    assert torch.equal(first["data_samples"].gt_landmarks[:1], again["data_samples"].gt_landmarks[:1])
    other = run(make_record() | dict(rng=np.random.default_rng(8)), *STEPS)
    assert not torch.equal(first["inputs"], other["inputs"])
