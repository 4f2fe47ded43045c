"""Several pictures on one sheet."""

from __future__ import annotations

import math

import numpy as np

from mmlandmark.visualization.style import PAPER


def contact_sheet(pictures: list[np.ndarray], columns: int, gap: int = 12) -> np.ndarray:
    """Arrange pictures in rows, with every column as wide as its widest picture.

    Args:
        pictures: (H, W, 3) uint8 each, of any size.
        columns: Pictures in a row.
        gap: Pixels between pictures.

    Returns:
        (H', W', 3) uint8, with the background of all pictures.
    """
    columns = min(columns, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    heights = [max(p.shape[0] for p in pictures[row * columns : (row + 1) * columns]) for row in range(rows)]
    widths = [max(p.shape[1] for p in pictures[column::columns]) for column in range(columns)]
    tops = np.cumsum([0, *(height + gap for height in heights)])
    lefts = np.cumsum([0, *(width + gap for width in widths)])
    sheet = np.full((tops[-1] - gap, lefts[-1] - gap, 3), PAPER, dtype=np.uint8)
    for number, picture in enumerate(pictures):
        top, left = tops[number // columns], lefts[number % columns]
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return sheet
