"""Pixels -> file -> pixels in every format: within 1e-4 mm, whatever the frame."""

from __future__ import annotations

import numpy as np
import pytest

from image_writers import write_cv, write_dicom, write_nifti, write_sitk
from mmlandmark.datasets import LandmarkDataset
from mmlandmark.datasets.image_files import image_frame
from mmlandmark.datasets.releases import CocoKeypoints, CvatImages, SlicerMarkups
from mmlandmark.inference.writers import output_path, write_predictions
from mmlandmark.registry import WRITERS
from mmlandmark.structures import apply_matrix
from test_inference.predictions import error_in_mm, random_frame, random_prediction, schema_of

CASES = 24
OPTIONS = dict(missing_images="keep", serialize_data=False)
READERS = {
    "json": lambda path, **kwargs: LandmarkDataset(str(path), **OPTIONS, **kwargs),
    "csv": lambda path, **kwargs: LandmarkDataset(str(path), **OPTIONS, **kwargs),
    "coco": lambda path, **kwargs: CocoKeypoints(str(path), keep_unannotated=True, **OPTIONS, **kwargs),
    "cvat": lambda path, **kwargs: CvatImages(str(path), **OPTIONS, **kwargs),
}


def test_every_format_is_tested():
    assert set(WRITERS.module_dict) == {*READERS, "slicer"}


@pytest.mark.parametrize("named", [False, True], ids=["own names", "schema"])
@pytest.mark.parametrize(
    ("format", "dims"), [(format, dims) for format in READERS for dims in WRITERS.get(format).DIMS]
)
def test_pixels_of_any_frame_come_back(tmp_path, format, dims, named):
    rng = np.random.default_rng(dims)
    schema = schema_of(dims)
    other = schema.subset(rng.permutation(len(schema)).tolist())[0]
    every = [random_prediction(rng, schema, f"case {n}") for n in range(CASES)]
    path = output_path(tmp_path, format)
    assert write_predictions(every, schema, path, format) == CASES
    data = READERS[format](path, schema=other if named else None)
    assert set(data.schema.landmarks) == set(schema.landmarks)
    records = {record["sample_id"]: record for record in map(data.get_data_info, range(len(data)))}
    for one in every:
        record = records[one.sample_id]
        points = np.array([record["landmarks"][data.schema.landmarks.index(n)] for n in schema.landmarks])
        assert error_in_mm(one, points) < 1e-4
        assert record["ori_shape"] == one.shape


def write_image(rng, path, size, world):
    """Write an empty image of a frame; the suffix says how."""
    pixels = np.zeros(size, np.uint8)
    if path.suffix == ".png":
        write_cv(path, pixels, None)
    elif path.suffix == ".dcm":
        write_dicom(path, pixels, None, 8, world=world)
    else:
        (write_nifti if path.suffix == ".nii" else write_sitk)(path, pixels, None, world)


# Suffix of the image, its dimensions, dimensions of its world.
KINDS = [(".nii", 3, 3), (".mha", 3, 3), (".nrrd", 3, 3), (".nii", 2, 3), (".dcm", 2, 3), (".mha", 2, 2)]


@pytest.mark.parametrize(("suffix", "dims", "world"), [*KINDS, (".png", 2, 2)])
def test_pixels_come_back_from_slicer_through_the_frame_of_the_image(tmp_path, suffix, dims, world):
    rng = np.random.default_rng(dims + world)
    schema = schema_of(dims)
    every = []
    for n in range(CASES):
        path = tmp_path / "images" / f"{'sub/' if n % 2 else ''}film ({n}), l'un & [2]{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        size = tuple(rng.integers(12, 30, dims).tolist())
        write_image(rng, path, size, random_frame(rng, dims, world))
        points = rng.uniform(-0.5, np.array(size[::-1]) - 0.5, (len(schema), dims))
        points[rng.random(len(schema)) < 0.3] = np.nan
        ident = path.relative_to(tmp_path / "images").as_posix().removesuffix(suffix)
        frame = image_frame(path)
        every.append(
            random_prediction(
                rng, schema, ident, image=str(path), shape=size, points=points, world_from_original=frame
            )
        )
    assert write_predictions(every, schema, tmp_path / "slicer", "slicer") == CASES
    data = SlicerMarkups("slicer", str(tmp_path), "images", schema=schema, serialize_data=False)
    assert len(data) == CASES
    records = {record["sample_id"]: record for record in map(data.get_data_info, range(CASES))}
    for one in every:
        record = records[one.sample_id]
        assert record["img_path"] == one.image
        assert error_in_mm(one, record["landmarks"]) < 1e-4
        np.testing.assert_array_equal(record["visibility"], one.found, err_msg="a guess is no annotation")
        if one.world_from_original is None:
            assert record["spacing"] is None
        else:
            np.testing.assert_allclose(record["spacing"], one.spacing)
            there = apply_matrix(one.world_from_original, record["landmarks"].astype(np.float64))
            found = one.found
            np.testing.assert_allclose(there[found], one.world_points[found], atol=1e-4)
