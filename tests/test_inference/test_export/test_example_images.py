"""Images in the form that an exported detector takes."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.inference.export import ExportError
from mmlandmark.inference.export.example_images import image_shape, made_images, read_images
from test_inference.test_export.export_cases import (
    PIPELINE,
    PREPROCESSOR,
    SIZE,
    UNET,
    config_of,
    model_of,
    phantom_files,
)


def shape_of(model):
    return image_shape(model, model.detector())


def test_shape_is_that_of_the_pipeline_and_the_network():
    assert shape_of(model_of(config_of())) == (1, *SIZE)
    colour = config_of(data_preprocessor=dict(PREPROCESSOR, channels=3), backbone=dict(UNET, in_channels=3))
    grey = model_of(colour)
    assert shape_of(grey) == (1, *SIZE)  # its pipeline makes grey images, the detector repeats them
    free = [dict(type="LoadImage"), dict(type="Resize", size=SIZE), *PIPELINE[2:]]
    anything = model_of(colour, config=dict(model=colour, pipeline=free))
    assert shape_of(anything) == (3, *SIZE)
    assert [image.shape for image in made_images(anything, (3, *SIZE))] == [(3, *SIZE)] * 6


def test_a_pipeline_without_one_size_is_refused():
    config = config_of()
    model = model_of(config, config=dict(model=config, pipeline=[dict(type="LoadImage"), PIPELINE[-1]]))
    with pytest.raises(ExportError, match="makes inputs of several sizes"):
        shape_of(model)
    resampled = [dict(type="LoadImage"), dict(type="ResampleSpacing", spacing=0.01), *PIPELINE[2:]]
    model = model_of(config, config=dict(model=config, pipeline=resampled))
    with pytest.raises(ExportError, match="makes inputs of several sizes"):
        shape_of(model)
    cut = [*resampled[:2], dict(type="CenterCrop", size=SIZE), *resampled[2:]]
    model = model_of(config, config=dict(model=config, pipeline=cut))
    assert shape_of(model) == (1, *SIZE)
    assert all(image.shape == (1, *SIZE) for image in made_images(model, (1, *SIZE)))


def test_volumes_are_made_in_three_dimensions():
    pipeline = [dict(type="LoadImage"), dict(type="Resize", size=(16, 20, 24)), *PIPELINE[2:]]
    config = config_of(dims=3, backbone=dict(UNET, widths=(4, 8)))
    model = model_of(config, config=dict(model=config, pipeline=pipeline))
    shape = shape_of(model)
    assert shape == (1, 16, 20, 24)
    volumes = made_images(model, shape)
    assert all(volume.shape == shape and volume.std() > 0.1 for volume in volumes)


def test_of_many_files_some_are_taken_over_the_whole_range(tmp_path):
    paths = phantom_files(tmp_path / "films", count=5)
    model = model_of(config_of())
    every = read_images(model, [tmp_path / "films"], (1, *SIZE), limit=10)
    some = read_images(model, [tmp_path / "films"], (1, *SIZE), limit=3)
    assert len(every) == len(paths)
    assert [next(i for i, e in enumerate(every) if np.array_equal(e, s)) for s in some] == [0, 2, 4]
