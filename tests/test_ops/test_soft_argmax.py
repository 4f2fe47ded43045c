"""Expectations of coordinates and features against references, and published values."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlandmark.ops import backend, gaussian_heatmap, soft_argmax, spatial_expectation
from mmlandmark.ops.backend import using_reference
from mmlandmark.ops.soft_argmax import MODES, spatial_expectation_reference
from test_ops.op_testing import (
    DEVICES,
    LAYOUTS,
    SHAPES,
    TOLERANCES,
    features_of,
    laid_out,
    maps_of,
    needs_native,
    opcheck,
    threads,
)

ops = torch.ops.mmlandmark


@pytest.mark.parametrize("size", [(9, 14), (6, 7, 8)])
@pytest.mark.parametrize("mode", ["softmax", "sigmoid"])
def test_soft_argmax_is_the_expectation(size, mode):
    torch.manual_seed(1)
    maps = torch.randn(2, 3, *size, dtype=torch.float64)
    weight = (maps * 4).exp() if mode == "softmax" else (maps * 4).sigmoid()
    weight = weight / weight.flatten(2).sum(-1).view(2, 3, *[1] * len(size))
    grids = torch.meshgrid(*[torch.arange(s, dtype=torch.float64) for s in size], indexing="ij")
    expected = torch.stack([(weight * g).flatten(2).sum(-1) for g in reversed(grids)], -1)
    torch.testing.assert_close(soft_argmax(maps, 4.0, mode), expected)


def test_soft_argmax_of_a_wide_map_is_no_decoder():
    # beta = 10, L1-Laplace of decay 16 px, point (200, 300) on 640 x 800: most mass lies on the background.
    maps = gaussian_heatmap(
        torch.tensor([[[200.0, 300.0]]], dtype=torch.float64), (800, 640), 16.0, shape="laplace"
    )
    actual = soft_argmax(maps, 10.0)[0, 0]
    rows, columns = torch.meshgrid(torch.arange(800.0), torch.arange(640.0), indexing="ij")
    weight = (10 * (-((columns - 200).abs() + (rows - 300).abs()).double() / 16).exp()).exp()
    expected = torch.stack([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
    torch.testing.assert_close(actual, expected)
    # 91 px from the point it was drawn for.
    torch.testing.assert_close(
        actual, torch.tensor([270.13, 358.39], dtype=torch.float64), atol=0.005, rtol=0
    )


def test_a_flat_map_has_its_expectation_in_the_middle():
    assert soft_argmax(torch.zeros(1, 1, 6, 6)).tolist() == [[[2.5, 2.5]]]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", list(TOLERANCES))
@pytest.mark.parametrize("shape", SHAPES)
def test_expectation_and_gradient_equal_the_twin(shape, dtype, mode, device):
    work = torch.promote_types(dtype, torch.float32)
    maps = maps_of(shape, dtype, device).requires_grad_()
    for features in (None, features_of(shape, 3, work, device)):
        exact = maps.detach().double().requires_grad_()
        wide = None if features is None else features.double()
        expected = spatial_expectation_reference(exact, wide, 3.0, mode)
        actual = (
            soft_argmax(maps, 3.0, mode)
            if features is None
            else spatial_expectation(maps, features, 3.0, mode)
        )
        assert actual.dtype == work
        accurate = dtype == torch.float64
        scale = max(shape[2:]) if features is None else 1
        tolerance = dict(rtol=1e-11, atol=1e-11) if accurate else dict(rtol=2e-5, atol=3e-6 * scale)
        torch.testing.assert_close(actual.double(), expected, **tolerance)
        upstream = torch.randn(actual.shape, dtype=work).to(device) / scale
        (gradient,) = torch.autograd.grad((actual * upstream).sum(), maps)
        (slow,) = torch.autograd.grad((expected * upstream.double()).sum(), exact)
        assert gradient.dtype == dtype
        torch.testing.assert_close(gradient.double(), slow, **TOLERANCES[dtype])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(2, 5, 6, 35), (2, 3, 4, 5, 18)])
def test_memory_layout_makes_no_difference(shape, layout):
    maps = laid_out(maps_of(shape).abs(), layout)
    plain = maps.clone(memory_format=torch.contiguous_format).requires_grad_()
    maps.requires_grad_()
    features = features_of(shape, 2)
    # PyTorch's own sums depend on the layout; the native ones have the same bits.
    exact = backend().name == "native"
    tolerance = dict(rtol=0, atol=0) if exact else dict(rtol=1e-12, atol=1e-12)
    for call in (
        lambda m: soft_argmax(m, 3.0),
        lambda m: soft_argmax(m, 3.0, "sigmoid"),
        lambda m: spatial_expectation(m, features),
    ):
        actual, expected = call(maps), call(plain)
        torch.testing.assert_close(actual, expected, **tolerance)
        slopes = torch.autograd.grad(actual.sum(), maps)[0], torch.autograd.grad(expected.sum(), plain)[0]
        torch.testing.assert_close(*slopes, **tolerance)


@pytest.mark.parametrize("mode", MODES)
def test_gradcheck_of_expectations(mode):
    for shape in ((2, 2, 3, 11), (1, 2, 2, 3, 9)):
        maps, features = maps_of(shape).requires_grad_(), features_of(shape, 4)
        assert torch.autograd.gradcheck(lambda m: soft_argmax(m, 2.0, mode), maps)
        assert torch.autograd.gradcheck(lambda m, f=features: spatial_expectation(m, f, 2.0, mode), maps)


def test_softmax_of_any_height():
    maps = torch.tensor([[[[0.0, 300.0, 300.0, -1e4]], [[1e30, 0.0, 1e30, 0.0]]]])
    assert soft_argmax(maps, 10.0).tolist() == [[[1.5, 0.0], [1.0, 0.0]]]
    lowest = torch.full((1, 1, 200, 200), -float("inf"))
    lowest[0, 0, 150, 40] = 1.0
    assert soft_argmax(lowest, 1.0).tolist() == [[[40.0, 150.0]]]
    assert soft_argmax(torch.full((1, 1, 2, 3), -float("inf"))).isnan().all()
    for strange in (float("nan"), float("inf")):
        for position in (0, 3999, -1):
            maps = torch.zeros(1, 1, 200, 200)
            maps.view(-1)[position] = strange
            assert soft_argmax(maps).isnan().all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.05, 30), st.sampled_from(MODES), st.floats(-5, 5))
def test_weights_sum_to_one(seed, beta, mode, constant):
    maps = maps_of((1, 2, 5, 19), seed=seed)
    features = torch.full((1, 5, 19), constant, dtype=torch.float64)
    actual = spatial_expectation(maps, features, beta, mode)
    torch.testing.assert_close(actual, torch.full_like(actual, constant))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 9), st.integers(0, 6), st.floats(0.5, 40))
def test_soft_argmax_moves_with_its_map(dx, dy, beta):
    maps = torch.full((1, 1, 20, 21), -200.0, dtype=torch.float64)
    maps[..., 3:9, 2:9] = maps_of((1, 1, 6, 7))
    moved = soft_argmax(maps.roll((dy, dx), (2, 3)), beta)
    torch.testing.assert_close(moved, soft_argmax(maps, beta) + torch.tensor([dx, dy]).double())


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(6)))
def test_order_of_maps_is_the_order_of_points(order):
    maps = maps_of((1, 6, 9, 8))
    assert torch.equal(soft_argmax(maps[:, order]), soft_argmax(maps)[:, order])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: soft_argmax(m[0]), r"heatmaps must be .*got \(3, 4, 5\)"),
        (lambda m: soft_argmax(m, 0.0), "beta must be positive, got 0.0"),
        (lambda m: soft_argmax(m, 1.0, "relu"), "mode must be 'softmax' or 'sigmoid', got 'relu'"),
        (lambda m: spatial_expectation(m, m[0, :2, :3]), r"features must be \(d, \*S\) with \*S = \(4, 5\)"),
        (lambda m: spatial_expectation(m, torch.zeros(9, 4, 5)), "at most 8 maps, got 9"),
        (
            lambda m: spatial_expectation(m, torch.zeros(1, 4, 5, requires_grad=True)),
            "features are constants",
        ),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(2, 3, 4, 5))


def test_empty_batch():
    maps = torch.zeros(0, 3, 4, 5, requires_grad=True)
    actual = soft_argmax(maps)
    assert actual.shape == (0, 3, 2)
    actual.sum().backward()
    assert maps.grad.shape == maps.shape


@needs_native
def test_bits_do_not_depend_on_the_number_of_threads():
    shape = (1, 3, 401, 257)
    maps = maps_of(shape, torch.float32).abs().requires_grad_()
    features = features_of(shape, 2, torch.float32)
    for call in (
        lambda: soft_argmax(maps, 3.0),
        lambda: soft_argmax(maps, 3.0, "sigmoid"),
        lambda: spatial_expectation(maps, features),
    ):
        results = []
        for count in (1, 2, 5):
            with threads(count):
                actual = call()
            results.append((actual.detach(), torch.autograd.grad(actual.sum(), maps)[0]))
        for actual, gradient in results[1:]:
            assert torch.equal(actual, results[0][0])
            assert torch.equal(gradient, results[0][1])


@needs_native
@pytest.mark.parametrize("shape", [(2, 3, 4, 9), (1, 2, 3, 4, 5)])
def test_registration(shape):
    maps = maps_of(shape).abs().requires_grad_()
    features = features_of(shape, 2)
    for sigmoid in (False, True):
        opcheck(ops.spatial_expectation.default, maps, None, 2.0, sigmoid)
        opcheck(ops.spatial_expectation.default, maps, features, 2.0, sigmoid)


@pytest.mark.parametrize("compiler", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_in_one_graph(compiler):
    maps = maps_of((2, 3, 8, 33), torch.float32).requires_grad_()
    features = features_of((2, 3, 8, 33), 2, torch.float32)

    def everything(maps):
        weights = maps * 1.5
        return soft_argmax(weights, 4.0).sum() + spatial_expectation(weights, features, 1.0, "sigmoid").sum()

    torch._dynamo.reset()
    actual, expected = torch.compile(everything, fullgraph=True, backend=compiler)(maps), everything(maps)
    torch.testing.assert_close(actual, expected)
    slopes = [torch.autograd.grad(value, maps)[0] for value in (actual, expected)]
    torch.testing.assert_close(*slopes)


@pytest.mark.parametrize("beta", [1.0, 0.5, 3.0])
@pytest.mark.parametrize("height", [-20.0, -60.0, -90.0, -200.0, -1000.0])
@pytest.mark.parametrize("reference", [False, True])
def test_shares_of_low_sigmoid_maps_do_not_vanish(beta, height, reference):
    """The sigmoid of -90 is 0 in 32 bits, and yet a map that is low everywhere has its mass somewhere."""
    torch.manual_seed(0)
    maps = (torch.rand(2, 3, 8, 9, dtype=torch.float64) * 4 + torch.tensor(height / beta).double()).float()
    pull = torch.randn(2, 3, 2)
    exact = maps.double().requires_grad_()
    logs = torch.nn.functional.logsigmoid(beta * exact).flatten(2)
    grid = torch.stack(torch.meshgrid(torch.arange(8), torch.arange(9), indexing="ij")[::-1]).double()
    expected = logs.softmax(-1) @ grid.flatten(1).T
    (expected * pull).sum().backward()
    own = maps.clone().requires_grad_()
    with using_reference() if reference else nullcontext():
        found = soft_argmax(own, beta, "sigmoid")
        (found * pull).sum().backward()
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=2e-5)
    torch.testing.assert_close(own.grad.double(), exact.grad, rtol=1e-3, atol=1e-5)
