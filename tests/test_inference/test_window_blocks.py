"""Blocks of fused maps: together they are the fused maps, each pixel once, whatever the windows."""

from __future__ import annotations

import gc
import itertools

import pytest
import torch

from mmlandmark.inference.window_blocks import WindowGrid, fused_blocks, part

CASES = [
    ((37, 41), (16, 12), 0.5),
    ((37, 41), (16, 12), 0.0),
    ((40, 24), (8, 40), 0.75),
    ((19, 30, 23), (8, 12, 10), 0.5),
    ((19, 30, 23), (8, 12, 10), 0.2),
]


def varied(inputs):
    """A network whose maps depend on where its window begins: windows disagree wherever they overlap."""
    mean = inputs.flatten(1).mean(1).view(-1, 1, *[1] * (inputs.ndim - 2))
    return torch.cat([inputs * mean, inputs + mean], 1)


def slowly_fused(inputs, window, overlap):
    """Return all windows summed with their weights, then divided by the sum of the weights."""
    grid = WindowGrid.over(inputs.shape[2:], window, window, overlap)
    shape = (len(inputs), 2, *grid.size)
    fused, total = torch.zeros(shape, dtype=torch.float64), torch.zeros(grid.size, dtype=torch.float64)
    weight = torch.ones((), dtype=torch.float64)
    for side in window:
        weight = weight[..., None] * torch.exp(-0.5 * ((torch.arange(side) - (side - 1) / 2) * 8 / side) ** 2)
    for corner in torch.cartesian_prod(*map(torch.tensor, grid.starts)).tolist():
        place = part(corner, window)
        fused[place] += varied(inputs[place]).double() * weight
        total[place[2:]] += weight
    return (fused / total).float()


@pytest.mark.parametrize(("size", "window", "overlap"), CASES)
@pytest.mark.parametrize("halo", [0, 3, 7])
def test_blocks_are_the_fused_maps(size, window, overlap, halo):
    inputs = torch.randn(2, 1, *size, generator=torch.Generator().manual_seed(0))
    window = tuple(min(a, b) for a, b in zip(window, size, strict=True))
    expected = slowly_fused(inputs, window, overlap)
    seen = torch.zeros(size, dtype=torch.int64)
    for block in fused_blocks(varied, inputs, window, overlap, halo):
        assert block.size == size
        whole = part(block.corner, block.values.shape[2:])
        torch.testing.assert_close(block.values, expected[whole], atol=1e-5, rtol=1e-4)
        seen[part([a for a, _ in block.core], [b - a for a, b in block.core])[2:]] += 1
        for (first, end), corner, side, length in zip(
            block.core, block.corner, size, block.values.shape[2:], strict=True
        ):
            assert corner <= max(first - halo, 0), "what lies before the core"
            assert corner + length >= min(end + halo, side), "and behind it"
    assert (seen == 1).all()


@pytest.mark.parametrize("size", range(16, 60, 3))
@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.5])
def test_windows_are_the_same_in_a_mirrored_input(size, overlap):
    grid = WindowGrid.over((1, size), (1, 16), (1, 16), overlap)
    starts = list(grid.starts[1])
    assert starts == sorted(starts)
    assert starts == [size - 16 - start for start in reversed(starts)]
    assert starts[0] == 0
    steps = [b - a for a, b in itertools.pairwise(starts)]
    assert max(steps, default=0) <= max(16 * (1 - overlap), 1)
    torch.testing.assert_close(
        torch.stack(
            [
                torch.nn.functional.pad(w, (s, size - 16 - s))
                for w, s in zip(grid.weights(1, torch.device("cpu")), starts, strict=True)
            ]
        ).sum(0),
        torch.ones(size),
    )


def test_little_more_than_the_overlap_is_kept():
    """What waits is as much as one layer of windows overlaps with the next, not the whole maps."""
    inputs, kept = torch.zeros(1, 1, 160, 12, 12), []

    def network(window):
        if len(kept) in (210, 290):
            alive = [o for o in gc.get_objects() if type(o) is torch.Tensor and o.shape[1:2] == (50,)]
            storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in alive}
            kept.append(sum(storages.values()))
        else:
            kept.append(0)
        return window.expand(-1, 50, *[-1] * 3)

    for _ in fused_blocks(network, inputs, (16, 4, 4), 0.5, halo=2):
        pass
    layer = 50 * 12 * 12 * 4
    assert max(kept) > 8 * layer
    assert max(kept) < (8 + 4 + 30) * layer, "overlap, halo, and some rows of windows"
