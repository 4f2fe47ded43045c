"""Second derivatives: those of the twins, or an error that says so."""

from __future__ import annotations

import pytest
import torch

from mmlandmark.ops import (
    ewc_loss,
    ewc_loss_map,
    gaussian_heatmap,
    region_distance,
    soft_argmax,
    using_reference,
)
from mmlandmark.ops.first_order import anchor_of, first_order
from test_ops.op_testing import maps_of, needs_native, points_of

SHAPE = (1, 2, 6, 9)
OPERATORS = {
    "ewc_loss": lambda maps, points: ewc_loss(maps, points.detach(), 2.0),
    "ewc_loss, scaled": lambda maps, points: 3 * ewc_loss(maps, points.detach(), 2.0),
    "ewc_loss, float16": lambda maps, points: ewc_loss(maps.half(), points.detach(), 2.0).double(),
    "ewc_loss_map": lambda maps, points: ewc_loss_map(maps, torch.ones_like(maps)),
    "soft_argmax": lambda maps, points: soft_argmax(maps),
    "region_distance": lambda maps, points: region_distance(maps.exp(), points),
    "gaussian_heatmap": lambda maps, points: gaussian_heatmap(points + maps.mean(), (6, 9), 2.0),
}


def penalised(operator, whole: bool) -> torch.Tensor:
    """Return the gradient by maps of a value and of the square of its gradient."""
    maps, points = maps_of(SHAPE).requires_grad_(), points_of(SHAPE).requires_grad_()
    value = operator(maps, points).square().sum()
    (slope,) = torch.autograd.grad(value, maps, create_graph=True)
    total = slope.square().sum() + maps.sum()
    if not whole:
        return torch.autograd.grad(total, maps)[0]
    total.backward()
    return maps.grad


@needs_native
@pytest.mark.parametrize("whole", [True, False], ids=["backward", "grad"])
@pytest.mark.parametrize("name", OPERATORS)
def test_a_penalty_of_a_gradient_is_not_left_out(name, whole):
    with pytest.raises(RuntimeError, match="no second derivatives: compute what needs them within mmland"):
        penalised(OPERATORS[name], whole)


@pytest.mark.parametrize("name", [name for name in OPERATORS if "float16" not in name])
def test_the_twins_have_second_derivatives(name):
    with using_reference():
        gradient = penalised(OPERATORS[name], False)
        step = torch.zeros(SHAPE, dtype=torch.float64)
        step[0, 1, 2, 3] = 1e-6
        maps, points = maps_of(SHAPE), points_of(SHAPE)

        def total(shift: torch.Tensor) -> torch.Tensor:
            moved = (maps + shift).requires_grad_()
            value = OPERATORS[name](moved, points).square().sum()
            return torch.autograd.grad(value, moved)[0].square().sum() + moved.sum()

        expected = (total(step) - total(-step)) / 2e-6
    torch.testing.assert_close(gradient[0, 1, 2, 3], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", OPERATORS)
def test_first_derivatives_of_a_graph_that_is_kept(name):
    maps, points = maps_of(SHAPE).requires_grad_(), points_of(SHAPE).requires_grad_()
    value = OPERATORS[name](maps, points).square().sum()
    (kept,) = torch.autograd.grad(value, maps, create_graph=True)
    assert torch.equal(kept.detach(), torch.autograd.grad(value, maps)[0])


def test_a_gradient_without_a_graph_is_handed_on():
    gradient = torch.ones(3)
    with torch.no_grad():
        assert first_order(gradient, torch.ones(3, requires_grad=True)) is gradient


def test_an_anchor_keeps_no_memory():
    origin = torch.ones(3, requires_grad=True)
    anchor = anchor_of(origin)
    assert anchor.numel() == 0
    assert anchor.untyped_storage().nbytes() == 0
    with pytest.raises(RuntimeError, match="no second derivatives"):
        torch.autograd.grad(first_order(torch.ones(3), anchor).sum() + origin.sum(), origin)
