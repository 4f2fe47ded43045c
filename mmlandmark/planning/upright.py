"""Cases as a network sees them: images with an orientation tag are turned."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np

from mmlandmark.datasets.check_cases import Cases
from mmlandmark.datasets.readers.raster import raster_orientation, upright_matrix
from mmlandmark.structures import apply_matrix


def upright(cases: Cases) -> Cases:
    """Return cases with the sizes of images as they are shown, and the landmarks there.

    Headers and annotations are of the stored pixels; a photograph of 4000 x 3000 pixels that was taken
    upright is shown 3000 wide, and so the network sees it. Volumes stay as they are.
    """
    turned = copy.copy(cases)
    turned.points, turned.sizes = cases.points.copy(), cases.sizes.copy()
    if cases.schema.dims != 2:
        return turned
    for n, record in enumerate(cases.records):
        path = record.get("img_path")
        if path is None or not np.isfinite(cases.sizes[n]).all() or cases.out_of_time:
            continue
        try:
            orientation = raster_orientation(Path(path))
        except (OSError, ValueError):
            continue  # the check reports it
        if orientation == 1:
            continue
        width, height = cases.sizes[n]
        matrix = upright_matrix(orientation, (int(height), int(width)))
        turned.points[n] = apply_matrix(matrix, cases.points[n])
        if orientation > 4:
            turned.sizes[n] = height, width
    return turned
