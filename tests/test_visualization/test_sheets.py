"""Several pictures on one sheet."""

from __future__ import annotations

import numpy as np

from mmlandmark.visualization.sheets import contact_sheet
from mmlandmark.visualization.style import PAPER


def picture(height, width, value):
    return np.full((height, width, 3), value, np.uint8)


def test_pictures_of_any_size_lie_in_rows_and_columns():
    pictures = [picture(10, 20, 1), picture(14, 8, 2), picture(6, 24, 3)]
    sheet = contact_sheet(pictures, columns=2, gap=4)
    assert sheet.shape == (14 + 4 + 6, 24 + 4 + 8, 3)
    assert (sheet[:10, :20] == 1).all()
    assert (sheet[:14, 28:] == 2).all()
    assert (sheet[18:, :24] == 3).all()
    assert (sheet[10:14, :28] == PAPER).all()
    assert (sheet[18:, 28:] == PAPER).all()


def test_no_empty_columns_are_left():
    assert contact_sheet([picture(5, 7, 1)], columns=6).shape == (5, 7, 3)
