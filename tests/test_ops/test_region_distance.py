"""Mean distances of maps from points against a plain formula."""

from __future__ import annotations

import pytest
import torch

from mmlandmark.ops import backend, region_distance
from mmlandmark.ops.region_distance import region_distance_reference
from test_ops.op_testing import (
    DEVICES,
    LAYOUTS,
    SHAPES,
    SUM_TOLERANCE,
    TOLERANCES,
    laid_out,
    maps_of,
    needs_native,
    opcheck,
    points_of,
    threads,
)

ops = torch.ops.mmlandmark


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", list(TOLERANCES))
@pytest.mark.parametrize("shape", SHAPES)
def test_distance_equals_the_twin(shape, dtype, device):
    work = torch.promote_types(dtype, torch.float32)
    maps = (maps_of(shape, dtype, device).abs() + 0.1).requires_grad_()
    centers = (points_of(shape, work, device) / 2).requires_grad_()
    spacing = [0.5, 2.0, 1.5][: len(shape) - 2]
    exact = [t.detach().double().requires_grad_() for t in (maps, centers)]
    expected = region_distance_reference(*exact, spacing)
    actual = region_distance(maps, centers, spacing)
    assert actual.dtype == work
    torch.testing.assert_close(actual.double(), expected, **SUM_TOLERANCE)
    upstream = torch.rand(actual.shape, dtype=work).to(device)
    actual = torch.autograd.grad((actual * upstream).sum(), (maps, centers))
    slow = torch.autograd.grad((expected * upstream.double()).sum(), exact)
    torch.testing.assert_close(actual[0].double(), slow[0], **TOLERANCES[dtype])
    torch.testing.assert_close(actual[1].double(), slow[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(2, 5, 6, 35), (2, 3, 4, 5, 18)])
def test_memory_layout_makes_no_difference(shape, layout):
    maps = laid_out(maps_of(shape).abs(), layout)
    plain = maps.clone(memory_format=torch.contiguous_format).requires_grad_()
    maps.requires_grad_()
    centers = points_of(shape)
    # PyTorch's own sums depend on the layout; the native ones have the same bits.
    exact = backend().name == "native"
    tolerance = dict(rtol=0, atol=0) if exact else dict(rtol=1e-12, atol=1e-12)
    distance, expected = region_distance(maps, centers), region_distance(plain, centers)
    torch.testing.assert_close(distance, expected, **tolerance)
    slopes = torch.autograd.grad(distance.sum(), maps)[0], torch.autograd.grad(expected.sum(), plain)[0]
    torch.testing.assert_close(*slopes, **tolerance)


def test_gradcheck_of_distance():
    for shape in ((2, 2, 3, 11), (1, 2, 2, 3, 9)):
        maps = (maps_of(shape).abs() + 0.1).requires_grad_()
        centers = (points_of(shape) + 0.37).requires_grad_()
        spacing = [0.5, 2.0, 1.5][: len(shape) - 2]
        assert torch.autograd.gradcheck(lambda m, c, s=spacing: region_distance(m, c, s), (maps, centers))


def test_distance_on_the_centre_has_a_finite_gradient():
    maps = torch.ones(1, 1, 3, 3, requires_grad=True)
    centers = torch.ones(1, 1, 2, requires_grad=True)
    slopes = torch.autograd.grad(region_distance(maps, centers).sum(), (maps, centers))
    assert torch.isfinite(slopes[0]).all()
    torch.testing.assert_close(slopes[1], torch.zeros(1, 1, 2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: region_distance(m, m[..., 0, :3]), r"centers must be \(2, 3, 2\), got \(2, 3, 3\)"),
        (lambda m: region_distance(m, m[..., 0, :2], [1.0]), "spacing must have 2 entries"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(2, 3, 4, 5))


def test_empty_batch():
    maps, centers = torch.zeros(0, 3, 4, 5, requires_grad=True), torch.zeros(0, 3, 2)
    distance = region_distance(maps, centers)
    assert distance.shape == (0, 3)
    distance.sum().backward()
    assert maps.grad.shape == maps.shape


@needs_native
def test_bits_do_not_depend_on_the_number_of_threads():
    shape = (1, 3, 401, 257)
    maps, centers = maps_of(shape, torch.float32).abs().requires_grad_(), points_of(shape, torch.float32)
    results = []
    for count in (1, 2, 5):
        with threads(count):
            distance = region_distance(maps, centers)
        results.append((distance.detach(), torch.autograd.grad(distance.sum(), maps)[0]))
    for distance, gradient in results[1:]:
        assert torch.equal(distance, results[0][0])
        assert torch.equal(gradient, results[0][1])


@needs_native
@pytest.mark.parametrize("shape", [(2, 3, 4, 9), (1, 2, 3, 4, 5)])
def test_registration(shape):
    maps, centers = maps_of(shape).abs().requires_grad_(), points_of(shape).requires_grad_()
    opcheck(ops.region_distance.default, maps, centers, [1.0] * (len(shape) - 2))


@pytest.mark.parametrize("compiler", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_in_one_graph(compiler):
    maps = maps_of((2, 3, 8, 33), torch.float32).requires_grad_()
    centers = torch.full((2, 3, 2), 3.3)

    def total(maps):
        return region_distance((maps * 1.5).exp(), centers).sum()

    torch._dynamo.reset()
    value, expected = torch.compile(total, fullgraph=True, backend=compiler)(maps), total(maps)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(*(torch.autograd.grad(v, maps)[0] for v in (value, expected)))
