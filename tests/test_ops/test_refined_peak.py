"""Refined peaks against references, and where they end up between the pixels."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlandmark.ops import gaussian_heatmap, local_centroid, peak, quadratic_fit, quadratic_peak, refined_peak
from mmlandmark.ops.backend import using_reference
from mmlandmark.ops.refined_peak import refined_peak_reference
from test_ops.op_testing import (
    DEVICES,
    LAYOUTS,
    SHAPES,
    TOLERANCES,
    laid_out,
    maps_of,
    needs_native,
    opcheck,
    points_of,
    threads,
)

ops = torch.ops.mmlandmark


def test_peak_is_the_first_maximum():
    maps = torch.zeros(1, 2, 3, 4)
    maps[0, 0, 1, 2] = maps[0, 0, 2, 3] = 5.0
    position, value = peak(maps)
    assert position.tolist() == [[[2, 1], [0, 0]]]
    assert value.tolist() == [[5.0, 0.0]]


@pytest.mark.parametrize("dims", [2, 3])
def test_refinement_finds_the_centre_between_pixels(dims):
    torch.manual_seed(2)
    size = (30, 34, 38)[-dims:]
    points = torch.rand(4, 5, dims, dtype=torch.float64) * 10 + 10
    maps = gaussian_heatmap(points, size, 1.5)
    exact = quadratic_peak(maps, log=True)
    torch.testing.assert_close(exact, points, atol=1e-9, rtol=0)
    smoothed = quadratic_peak(maps, log=True, smooth=1.5)
    torch.testing.assert_close(smoothed, points, atol=0.02, rtol=0)
    plain = (points - peak(maps)[0]).norm(dim=-1).mean()
    assert (quadratic_peak(maps) - points).norm(dim=-1).mean() < 0.3 * plain
    assert (local_centroid(maps, 5) - points).norm(dim=-1).max() < 0.05


@pytest.mark.parametrize("point", [(0.0, 0.0), (9.0, 0.0), (0.0, 7.0)])
def test_a_peak_on_the_border_stays_there(point):
    maps = gaussian_heatmap(torch.tensor([[point]]), (8, 10), 1.5)
    for decoded in (quadratic_peak(maps), quadratic_peak(maps, log=True), local_centroid(maps, 3)):
        torch.testing.assert_close(decoded[0, 0], torch.tensor(point))


def test_a_flat_map_is_decoded_without_nan():
    maps = torch.zeros(1, 1, 6, 6)
    for decoded in (
        quadratic_peak(maps),
        quadratic_peak(maps, log=True),
        local_centroid(maps, 2),
    ):
        assert torch.isfinite(decoded).all()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", list(TOLERANCES))
@pytest.mark.parametrize(
    ("method", "radius", "smooth"),
    [("none", 0, 0), ("centroid", 1, 0), ("centroid", 4, 0), ("quadratic", 0, 0), ("log_quadratic", 0, 0),
     ("quadratic", 0, 1.2), ("log_quadratic", 0, 1.5)],
)  # fmt: skip
@pytest.mark.parametrize("shape", SHAPES)
def test_refined_peak_equals_the_twin(shape, method, radius, smooth, dtype, device):
    noise = maps_of(shape, device=device).abs() * 0.05
    drawn = gaussian_heatmap(points_of(shape, device=device), shape[2:], 1.7) + noise
    for maps in (drawn.to(dtype), noise.to(dtype)):
        actual = refined_peak(maps, method, radius, smooth)
        expected = refined_peak_reference(maps, method, radius, smooth)
        assert torch.equal(actual[1], expected[1])
        assert torch.equal(actual[2], expected[2])
        # In float32 a fit to noise is ill-conditioned; what counts is that both agree in float64.
        tolerance = 1e-9 if dtype == torch.float64 else 2e-2
        torch.testing.assert_close(actual[0], expected[0], rtol=0, atol=tolerance)


def test_the_first_of_equal_maxima_and_the_first_nan_is_found():
    maps = torch.zeros(1, 3, 90, 700)
    maps[0, 0, 80, 650] = maps[0, 0, 20, 3] = maps[0, 0, 20, 600] = 1.0
    maps[0, 1] = -float("inf")
    maps[0, 2, 40, 7] = float("inf")
    maps[0, 2, 50, 8] = maps[0, 2, 60, 9] = float("nan")
    _, pixels, values = refined_peak(maps)
    assert pixels.tolist() == [[[3, 20], [0, 0], [8, 50]]]
    assert values[0, 0] == 1
    assert values[0, 1] == -float("inf")
    assert values[0, 2].isnan()


def test_refinement_has_a_gradient_where_one_is_asked_for():
    maps = (gaussian_heatmap(torch.tensor([[[4.3, 5.8]]]).double(), (12, 12), 2.0)).requires_grad_()
    assert torch.autograd.gradcheck(lambda m: local_centroid(m, 2), maps)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(2, 5, 6, 35), (2, 3, 4, 5, 18)])
def test_memory_layout_makes_no_difference(shape, layout):
    maps = laid_out(maps_of(shape).abs(), layout)
    plain = maps.clone(memory_format=torch.contiguous_format)
    for one, other in zip(refined_peak(maps, "centroid", 2), refined_peak(plain, "centroid", 2), strict=True):
        assert torch.equal(one, other)


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(6)))
def test_order_of_maps_is_the_order_of_points(order):
    maps = maps_of((1, 6, 9, 8))
    for call in (lambda m: local_centroid(m, 2), quadratic_peak):
        assert torch.equal(call(maps[:, order]), call(maps)[:, order])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: refined_peak(m, "newton"), "method must be one of"),
        (lambda m: refined_peak(m, "centroid", -1), "must not be negative"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(2, 3, 4, 5))


def test_empty_batch():
    maps = torch.zeros(0, 3, 4, 5)
    for method in ("none", "centroid", "quadratic", "log_quadratic"):
        assert [t.shape for t in refined_peak(maps, method, 1)] == [(0, 3, 2), (0, 3, 2), (0, 3)]
        assert quadratic_fit(maps, torch.zeros(0, 3, 2, dtype=torch.int64), smooth=1.0).shape == (0, 3, 2)


@needs_native
def test_bits_do_not_depend_on_the_number_of_threads():
    maps = maps_of((1, 3, 401, 257), torch.float32).abs()
    results = []
    for count in (1, 2, 5):
        with threads(count):
            results.append(refined_peak(maps, "centroid", 3))
    for result in results[1:]:
        assert all(torch.equal(one, other) for one, other in zip(result, results[0], strict=True))


@needs_native
@pytest.mark.parametrize("shape", [(2, 3, 4, 9), (1, 2, 3, 4, 5)])
def test_registration(shape):
    opcheck(ops.refined_peak.default, maps_of(shape).abs(), 1, 2, 0.0)


@pytest.mark.parametrize("compiler", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_in_one_graph(compiler):
    maps = maps_of((2, 3, 8, 33), torch.float32)

    def points(maps):
        return refined_peak(maps * 1.5, "centroid", 2)[0]

    torch._dynamo.reset()
    compiled = torch.compile(points, fullgraph=True, backend=compiler)
    torch.testing.assert_close(compiled(maps), points(maps))


@pytest.mark.parametrize("reference", [False, True])
@pytest.mark.parametrize("smooth", [0.0, 1.0])
@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("axis", [2, 3, 4])
def test_an_axis_of_side_1_has_no_part_in_the_fit(axis, log, smooth, reference):
    """A volume of one slice has the sub-pixel peak of the slice, and a line that of the line."""
    points = torch.tensor([[[10.3, 9.7], [5.6, 12.4]]])
    flat = gaussian_heatmap(points, (20, 24), 2.0)
    with using_reference() if reference else nullcontext():
        expected = quadratic_peak(flat, log, smooth)
        found = quadratic_peak(flat.unsqueeze(axis), log, smooth)
        line = quadratic_peak(flat[:, :, 10:11], log, smooth)
    place = 4 - axis  # of the coordinate
    torch.testing.assert_close(torch.cat([found[..., :place], found[..., place + 1 :]], -1), expected)
    assert (found[..., place] == 0).all()
    if log and not smooth:
        torch.testing.assert_close(found[..., [c for c in range(3) if c != place]], points, atol=1e-3, rtol=0)
        torch.testing.assert_close(line[..., 0], points[..., 0], atol=1e-3, rtol=0)
