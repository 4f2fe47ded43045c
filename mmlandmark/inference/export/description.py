"""What a program needs to know to use an exported detector without mmlandmark."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmlandmark.evaluation import Calibration
from mmlandmark.inference.export.exportable import Traced
from mmlandmark.inference.export.formats import INPUT
from mmlandmark.models.model_file import ModelFile
from mmlandmark.version import __version__

_MEANING = {
    "points": "(batch, K, D) in pixels of the input, (x, y[, z]), the centre of the first pixel is 0; NaN "
    "where a landmark is not predicted",
    "scores": "(batch, K), 0 where a landmark is not predicted; low where the detector is unsure",
    "spread": "(batch, K, D, D) covariance of the position in pixels^2 of the input",
    "presence": "(batch, K) probability that the landmark is in the image",
}
_PREPARATION = (
    "The steps of the pipeline, in this order. LoadImage resizes to 'size' (height, width) by the mean over "
    "areas where it shrinks, linearly where it grows; with keep_aspect it fits the image into 'size'. Resize "
    "only moves the frame: a point x becomes (x + 0.5) * new / old - 0.5 along each axis; with keep_aspect "
    "one factor serves all axes, and floor(padding / 2) pixels lie before. Resample reads the pixels of that "
    "frame, linearly, black outside. Values are then divided so that black is 0 and white is 1."
)
_BACK = (
    "Multiply the matrices of all steps; their product leads from pixels of the original to those of the "
    "input. Its inverse leads points back: p = A^-1 x, and a spread S becomes L S L^T with the linear part L "
    "of A^-1. A prediction withholds a landmark outside of the original (beyond its outer pixels), or with a "
    "presence below 0.5."
)
_RADII = {
    "absolute": "the radius of a level is its number",
    "scaled": "the radius of a level is its number times sqrt(trace(S) / D), with the spread S in {unit}^2 "
    "of the original image",
}


def describe(model: ModelFile, traced: Traced, **more: Any) -> dict[str, Any]:
    """Return the description of an exported detector, of plain values for JSON.

    Args:
        model: What was exported.
        traced: From it.
        more: Further entries: ``file``, ``format``, ``precision``, ``check``.
    """
    return dict(
        name=model.name,
        **more,
        written_by=f"mmlandmark {__version__}",
        licence=model.licence,
        schema=model.schema.name,
        landmarks=list(model.schema.landmarks),
        input=dict(
            name=INPUT,
            shape=["batch", *traced.shape],
            dtype="float32",
            values="0 is black, 1 is white; normalisation is inside",
        ),
        outputs={name: _MEANING[name] for name in traced.outputs},
        pipeline=model.config["pipeline"],
        preparation=_PREPARATION,
        points_back=_BACK,
        calibration=_calibration(model),
    )


def _calibration(model: ModelFile) -> dict[str, Any] | None:
    """Return the radii that hold the true position, by level; None without a calibration."""
    if model.calibration is None:
        return None
    calibration = Calibration.from_dict(model.calibration)
    # A radius follows the calibrated spread, a program has that of the network.
    factors = np.ones(len(calibration.landmarks))
    if calibration.radius_kind == "scaled" and calibration.temperature is not None:
        factors = np.sqrt(calibration.temperature)
    levels = {
        str(level): [float(value) if value == value else None for value in values]
        for level in calibration.levels
        for values in [calibration.quantiles(level)[0] * factors]
    }
    return dict(
        unit=calibration.unit,
        radii=levels,
        how=_RADII[calibration.radius_kind].format(unit=calibration.unit),
    )
