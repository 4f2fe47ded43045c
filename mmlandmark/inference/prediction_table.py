"""A prediction as text that a person reads."""

from __future__ import annotations

import numpy as np

from mmlandmark.structures import Prediction, grid_unit
from mmlandmark.utils.table_text import markdown_table, markdown_text

_AXES = "xyz"


def prediction_table(prediction: Prediction) -> str:
    """Return the landmarks of a prediction, and its measurements, as tables.

    Pixels are those of the file as it is stored; millimetres are given where its frame is known. The radius
    holds the true position with the probability in the title. A dash stands for what is not predicted.
    """
    grid = "pixels" if len(prediction.shape) == 2 else "voxels"
    title = f"{prediction.sample_id} ({' x '.join(map(str, prediction.shape[::-1]))} {grid})"
    parts = [markdown_text(title), _landmarks(prediction)]
    if prediction.radii and prediction.radius_unit == "mm" and prediction.spacing is None:
        parts.append(
            "The radii are in mm, and the image does not say how large a pixel is: give its spacing."
        )
    if prediction.measures:
        parts.append(_measures(prediction))
    return "\n\n".join(parts)


def _landmarks(prediction: Prediction) -> str:
    dims, world = len(prediction.shape), prediction.world_points
    columns = [(axis, prediction.points[:, i], 1) for i, axis in enumerate(_AXES[:dims])]
    if world is not None:
        columns += [(f"{_AXES[i]} mm", world[:, i], 1) for i in range(world.shape[1])]
    columns.append(("score", np.where(prediction.found, prediction.scores, np.nan), 2))
    if prediction.presence is not None:
        columns.append(("present", prediction.presence, 2))
    unit = grid_unit(dims) if prediction.radius_unit == "pixels" else prediction.radius_unit
    columns += [
        (f"{100 * level:g} % radius {unit}", radii, 1) for level, radii in sorted(prediction.radii.items())
    ]
    rows = [
        [markdown_text(name), *(_number(values[k], digits) for _, values, digits in columns)]
        for k, name in enumerate(prediction.schema.landmarks)
    ]
    head = ["landmark", *(name for name, _, _ in columns)]
    if prediction.flagged.any():
        head.append("look at it")
        rows = [[*row, markdown_text(why)] for row, why in zip(rows, prediction.reasons, strict=True)]
    return markdown_table(head, rows, padded=True)


def _measures(prediction: Prediction) -> str:
    rows = []
    for measure in prediction.measures:
        digits = 2 if measure.unit else 3  # a ratio, such as 0.652
        value = _number(measure.value, digits)
        spread = "" if measure.std is None else f" ± {_number(measure.std, digits)}"
        chance = "" if measure.label_probability is None else f" ({measure.label_probability:.0%})"
        label = markdown_text(measure.label) + chance
        rows.append([markdown_text(measure.name), value + spread, measure.unit, label])
    return markdown_table(["measurement", "value", "unit", "class"], rows, padded=True)


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else "-"
