"""What a program needs to know to use an exported detector without mmlandmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmlandmark.evaluation import Calibration
from mmlandmark.inference.export.exportable import Traced
from mmlandmark.inference.export.formats import INPUT
from mmlandmark.models.model_file import ModelFile
from mmlandmark.version import __version__

_WRITTEN_BY = "mmlandmark"
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
    "frame; where it shrinks an axis by more than 2, blocks of pixels are averaged first, so that 2 or less "
    "remain. Values are then divided so that black is 0 and white is 1."
)
_OUTSIDE = {
    "constant": "black",
    "replicate": "the value of the nearest pixel",
    "reflect": "its mirror image, the outer pixels twice",
}
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


def describe(
    model: ModelFile, traced: Traced, *, precision: str = "float32", left_out: str = "", **more: Any
) -> dict[str, Any]:
    """Return the description of an exported detector, of plain values for JSON.

    Args:
        model: What was exported.
        traced: From it.
        precision: ``float32``, ``float16 weights`` or ``int8``.
        left_out: What the detector does and the file does not; empty if they do the same.
        more: Further entries: ``file``, ``format``, ``check``, ``loss``.
    """
    reason = _no_calibration(model, precision, left_out)
    return dict(
        name=model.name,
        **more,
        precision=precision,
        left_out=left_out,
        written_by=f"{_WRITTEN_BY} {__version__}",
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
        preparation=f"{_PREPARATION} {_resampling(model.config['pipeline'])}",
        points_back=_BACK,
        calibration=_radii(model.calibration) if not reason and model.calibration else None,
        no_calibration=reason,
    )


def is_description(data: Mapping[str, Any]) -> bool:
    """Return whether a JSON object is what :func:`describe` returns."""
    by = data.get("written_by")
    return isinstance(by, str) and by.split()[:1] == [_WRITTEN_BY] and "points_back" in data


def _resampling(pipeline: Sequence[Mapping[str, Any]]) -> str:
    """Return how the pipeline's Resample reads pixels, in words."""
    step = next((step for step in reversed(pipeline) if step["type"] == "Resample"), None)
    if step is None:
        return ""
    border, value = step.get("border", "constant"), step.get("border_value")
    outside = _OUTSIDE[border]
    if border == "constant" and value is not None:
        outside = f"the value {value:g} of the file"
    return (
        f"Here Resample reads with {step.get('interpolation', 'linear')} interpolation; outside of the image "
        f"is {outside}."
    )


def _no_calibration(model: ModelFile, precision: str, left_out: str) -> str:
    """Return why the radii of a model are not those of its file; empty if they are."""
    if model.calibration is None:
        return "the model has none"
    if left_out:
        return f"the radii were measured with a step that is not in the file: {left_out}"
    if precision == "int8":
        return "the radii were measured in floating point, and integers move the points: see loss"
    return ""


def _radii(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the radii of a calibration that hold the true position, by level."""
    calibration = Calibration.from_dict(values)
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
