"""Windows around pixels, at the border as well."""

from __future__ import annotations

import pytest
import torch

from mmlandmark.ops import local_window
from test_ops.op_testing import maps_of


def test_window_marks_what_lies_outside():
    maps = torch.arange(12.0).view(1, 1, 3, 4)
    values, inside = local_window(maps, torch.tensor([[[0, 1]]]), 1)
    assert values[0, 0].tolist() == [[0, 0, 1], [4, 4, 5], [8, 8, 9]]
    assert inside[0, 0].tolist() == [[False, True, True]] * 3


@pytest.mark.parametrize("size", [(9, 11), (5, 6, 7)])
def test_a_window_inside_is_the_part_of_the_map(size):
    maps = maps_of((2, 3, *size))
    center = torch.tensor([2, 3, 2][: len(size)]).expand(2, 3, len(size))  # (x, y[, z])
    values, inside = local_window(maps, center, 2)
    part = tuple(slice(c - 2, c + 3) for c in reversed(center[0, 0].tolist()))
    assert torch.equal(values, maps[(..., *part)])
    assert inside.all()
