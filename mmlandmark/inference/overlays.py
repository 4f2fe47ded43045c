"""Predictions drawn on their images, with how sure they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmlandmark.datasets.image_io import LoadedImage, from_array, read_image, to_canonical
from mmlandmark.structures import Prediction, apply_matrix, world_from_image
from mmlandmark.visualization import VolumePicture, draw_landmarks

_SIDE = 1200  # longest side of a picture in pixels


def draw_prediction(
    prediction: Prediction, image: np.ndarray | None = None, *, level: float | None = None
) -> np.ndarray:
    """Draw the landmarks of a prediction on its image, in red those that a person should look at.

    Around every landmark the region or, without regions, the circle is drawn that holds the true position
    with the probability ``level``. A volume is drawn in projections along its three axes, and in three slices
    through every landmark.

    Args:
        prediction: What to draw.
        image: (*S) or (*S, C) pixels; read from the prediction's file by default.
        level: Of the regions or radii; the lowest that the prediction has by default.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        FileNotFoundError: The image's file is gone.
        ValueError: There is no image; or it has another shape than the predicted one.
    """
    loaded = _image_of(prediction, image)
    points = apply_matrix(loaded.img_from_original, prediction.points)
    linear = loaded.img_from_original[:-1, :-1]
    level = min([*prediction.radii, *prediction.regions], default=None) if level is None else level
    regions = None if level is None else linear @ regions_of(prediction, level) @ linear.T
    flagged = np.flatnonzero(prediction.flagged).tolist()
    options: dict[str, Any] = dict(
        names=prediction.schema.landmarks,
        links=prediction.schema.links,
        highlight=flagged or None,
        regions=regions,
        region_label="" if level is None else f"{100 * level:g} % region",
    )
    if len(prediction.shape) == 2:
        side = min(max(loaded.array.shape[:2]), _SIDE)
        return draw_landmarks(
            loaded.array,
            pred=points,
            long_side=max(side, _SIDE // 2),
            caption=_caption(prediction),
            **options,
        )
    array = loaded.array if loaded.array.ndim == 3 else loaded.array.mean(-1)
    world = world_from_image(prediction.world_from_original, loaded.img_from_original)
    picture = VolumePicture(array, None, points, world, window=loaded.window, **options)
    return picture.sheet(_caption(prediction))


def regions_of(prediction: Prediction, level: float) -> np.ndarray:
    """Return the (K, D, D) matrices of the regions of a level in pixels^2; radii are regions that are round.

    Radii in mm have no size on an image of unknown spacing: NaN.

    Raises:
        ValueError: The prediction has neither of that level.
    """
    if level in prediction.regions:
        return prediction.regions[level]
    if level not in prediction.radii:
        known = sorted({*prediction.radii, *prediction.regions})
        raise ValueError(f"{prediction.sample_id!r} has no regions of level {level}, only of {known}")
    radii, dims = prediction.radii[level], len(prediction.shape)
    steps = np.ones(dims)
    if prediction.radius_unit == "mm":
        steps = np.full(dims, np.nan) if prediction.spacing is None else np.asarray(prediction.spacing)
    return np.einsum("k,ij->kij", radii**2, np.diag(1 / steps**2))


def _image_of(prediction: Prediction, image: np.ndarray | None) -> LoadedImage:
    if image is None and prediction.image is None:
        raise ValueError(f"{prediction.sample_id!r} is of an array: give the image to draw it on")
    if image is not None:
        world = prediction.world_from_original
        loaded = to_canonical(from_array(image, world_from_original=world, fill_value=0))
    else:
        smallest = _smallest(prediction.shape)
        loaded = read_image(prediction.image, min_size=smallest, fill_value=0)  # type: ignore[arg-type]
    if loaded.ori_shape != prediction.shape:
        raise ValueError(
            f"{prediction.sample_id!r}: the image has shape {loaded.ori_shape}, but the predicted one had "
            f"{prediction.shape}"
        )
    return loaded


def _smallest(shape: tuple[int, ...]) -> tuple[int, int] | None:
    return (_SIDE // 2, _SIDE // 2) if len(shape) == 2 else None


def _caption(prediction: Prediction) -> str:
    lost = int((~prediction.found).sum())
    parts = [f"{lost} not predicted"] * bool(lost)
    parts += [
        f"{name}: {reason}"
        for name, reason in zip(prediction.schema.landmarks, prediction.reasons, strict=True)
        if reason
    ]
    return ": ".join([prediction.sample_id, "; ".join(parts)]) if parts else prediction.sample_id
