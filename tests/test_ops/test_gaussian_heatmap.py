"""Heatmaps against a slow, pixel-by-pixel reference."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from mmlandmark.ops import gaussian_heatmap, separable_profiles
from mmlandmark.ops.gaussian_heatmap import SHAPES as PEAKS
from mmlandmark.ops.gaussian_heatmap import gaussian_heatmap_reference
from test_ops.op_testing import DEVICES, SHAPES, needs_native, opcheck, points_of, threads, widths_of

per_axis = pytest.mark.parametrize("per_axis", [False, True], ids=["one width", "per axis"])
SHAPES_WITH_INTEGRAL = [shape for shape in PEAKS if shape != "side_gaussian"]


def slow_heatmap(point, size, sigma, shape):
    """Evaluate the definition at every pixel, one at a time; sigma is (D,)."""
    out = torch.zeros(size, dtype=torch.float64)
    for index in itertools.product(*[range(s) for s in size]):
        offset = [index[len(size) - 1 - i] - float(point[i]) for i in range(len(size))]
        scaled = [o / float(s) for o, s in zip(offset, sigma, strict=True)]
        if shape == "gaussian":
            out[index] = math.exp(-sum(s * s for s in scaled) / 2)
        elif shape == "laplace":
            out[index] = math.exp(-sum(abs(s) for s in scaled))
        elif shape == "side_gaussian":
            out[index] = math.exp(-sum(o * o / side for o, side in zip(offset, size[::-1], strict=True)))
        elif shape == "laplace_l2":
            out[index] = math.exp(-math.sqrt(sum(s * s for s in scaled)))
        elif shape == "cone":
            out[index] = max(0.0, 1 - math.sqrt(sum(s * s for s in scaled)))
        else:
            out[index] = float(math.sqrt(sum(s * s for s in scaled)) <= 1)
    return out


@pytest.mark.parametrize("size", [(1, 1), (7, 12), (5, 4, 6)])
@pytest.mark.parametrize("shape", PEAKS)
@per_axis
def test_equals_definition(size, shape, per_axis):
    torch.manual_seed(0)
    dims = len(size)
    points = torch.rand(2, 3, dims, dtype=torch.float64) * torch.tensor(size[::-1]) * 1.5 - 1
    sigma = widths_of((2, 3, *size), per_axis)
    maps = gaussian_heatmap(points, size, sigma, shape=shape)
    for b, k in itertools.product(range(2), range(3)):
        expected = slow_heatmap(points[b, k], size, sigma[b, k].expand(dims), shape)
        torch.testing.assert_close(maps[b, k], expected)


@pytest.mark.parametrize("normalize", ["peak", "sum"])
@pytest.mark.parametrize("size", [(9, 12), (5, 8, 6)])
@pytest.mark.parametrize("shape", PEAKS)
def test_the_same_width_along_every_axis_is_one_width(shape, size, normalize):
    if shape == "side_gaussian" and normalize == "sum":
        pytest.skip("a side_gaussian has no width to normalise by")
    points, sigma = points_of((2, 3, *size)), widths_of((2, 3, *size), False)
    each = sigma[..., None].expand(2, 3, len(size))
    options = dict(shape=shape, normalize=normalize, scale=2.0)
    one, other = (gaussian_heatmap(points, size, s, **options) for s in (sigma, each))
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


def test_an_ellipse_has_its_long_axis_where_sigma_is_large():
    maps = gaussian_heatmap(torch.tensor([[[5.0, 4.0]]]), (9, 11), torch.tensor([[[3.0, 1.0]]]), shape="disc")
    assert maps[0, 0].sum(1).tolist() == [0, 0, 0, 1, 7, 1, 0, 0, 0]
    assert maps[0, 0].sum(0).tolist() == [0, 0, 1, 1, 1, 3, 1, 1, 1, 0, 0]


def test_gradients_reach_a_parameter_per_landmark_and_axis():
    """As a codec with a learned sigma keeps it: one (K, D) for all images."""
    sigma = torch.nn.Parameter(torch.tensor([[2.0, 1.0], [1.5, 3.0], [2.0, 2.0]]))
    points = points_of((4, 3, 12, 14), torch.float32)
    target = gaussian_heatmap(points, (12, 14), torch.tensor([2.5, 2.5, 2.5]), normalize="sum")
    optimizer = torch.optim.Adam([sigma], lr=0.05)
    for _ in range(250):
        optimizer.zero_grad()
        maps = gaussian_heatmap(points, (12, 14), sigma.expand(4, 3, 2), normalize="sum")
        (maps - target).square().sum().backward()
        optimizer.step()
    assert sigma.grad.shape == (3, 2)
    torch.testing.assert_close(sigma.detach(), torch.full((3, 2), 2.5), rtol=0, atol=0.02)


def test_a_cone_is_the_distance_from_outside_of_a_ball():
    """As nnLandmark draws its targets; its ball is of pixels, so that the two differ by less than a step."""
    radius, size = 15, (37, 37, 37)
    centre = torch.full((1, 1, 3), 18.0)
    cone = gaussian_heatmap(centre, size, float(radius), shape="cone")[0, 0]
    z, y, x = np.indices(size) - 18
    blob = distance_transform_edt(x**2 + y**2 + z**2 <= radius**2)
    blob = torch.from_numpy(blob / blob.max()).float()
    assert float((cone - blob).abs().max()) < 1 / radius
    assert float((cone - blob).abs().mean()) < 0.01
    assert float(cone[18, 18, 18]) == 1
    assert float(cone[18, 18, 24]) == pytest.approx(1 - 6 / 15)
    assert float(cone[18, 18, 33]) == 0


def test_a_round_laplace_peak_has_no_slope_on_its_landmark():
    point = torch.tensor([[[2.0, 1.0]]], requires_grad=True)
    gaussian_heatmap(point, (4, 5), 2.0, shape="laplace_l2")[0, 0, 1, 2].backward()
    assert point.grad.tolist() == [[[0.0, 0.0]]]


def test_eq_3_of_fsf_ld_to_the_letter():
    """1 / (2 sigma^2) exp(-[(x - x_k)^2 / w + (y - y_k)^2 / h]); sigma is not in the exponent."""
    height, width, sigma, (x, y) = 512, 256, 1.5, (100.3, 40.7)
    landmark = torch.tensor([[[x, y]]], dtype=torch.float64, requires_grad=True)
    options = dict(shape="side_gaussian", scale=1 / (2 * sigma**2))
    actual = gaussian_heatmap(landmark, (height, width), sigma, **options)[0, 0]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    expected = torch.exp(-((columns - x) ** 2 / width + (rows - y) ** 2 / height)) / (2 * sigma**2)
    torch.testing.assert_close(actual, expected.double())
    assert float(actual.detach().max()) == pytest.approx(0.222, abs=1e-3)
    small = torch.tensor([[[2.3, 1.7]]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p: gaussian_heatmap(p, (5, 6), 1.5, **options), small)
    rows = separable_profiles(landmark, (height, width), torch.tensor(sigma), "side_gaussian")
    torch.testing.assert_close(rows[0][0, 0, :, None] * rows[1][0, 0] * 0.5 / sigma**2, actual)
    with pytest.raises(ValueError, match="use normalize='peak'"):
        gaussian_heatmap(landmark, (8, 8), sigma, shape="side_gaussian", normalize="sum")


def test_sum_normalisation_integrates_to_scale():
    maps = gaussian_heatmap(
        torch.tensor([[[30.3, 29.8]]], dtype=torch.float64), (60, 60), 3.0, normalize="sum", scale=100.0
    )
    assert float(maps.sum()) == pytest.approx(100.0, rel=1e-6)
    for dims, shape in itertools.product((2, 3), ("laplace", "laplace_l2")):
        center = torch.full((1, 1, dims), 40.3, dtype=torch.float64)
        maps = gaussian_heatmap(center, (81,) * dims, 3.0, shape=shape, normalize="sum", scale=100.0)
        assert float(maps.sum()) == pytest.approx(100.0, rel=0.03), (dims, shape)  # the cusp is sampled
    for dims, shape in itertools.product((2, 3), SHAPES_WITH_INTEGRAL):
        center, sigma = torch.full((1, 1, dims), 40.3).double(), torch.tensor([[[3.0, 5.0, 4.0][:dims]]])
        maps = gaussian_heatmap(center, (81,) * dims, sigma, shape=shape, normalize="sum", scale=100.0)
        assert float(maps.sum()) == pytest.approx(100.0, rel=0.03), (dims, shape)
    # Peak of the Gaussian of sigma 2.5 and mass 100, a published value.
    peak = gaussian_heatmap(
        torch.tensor([[[30.0, 30.0]]], dtype=torch.float64), (60, 60), 2.5, normalize="sum", scale=100.0
    ).max()
    assert float(peak) == pytest.approx(2.546, abs=5e-4)


def test_missing_landmarks_give_zero_maps_and_zero_gradients():
    points = torch.tensor([[[float("nan"), 2.0], [3.0, 2.0], [1.0, 1.0]]], requires_grad=True)
    maps = gaussian_heatmap(points, (6, 6), 1.5, mask=torch.tensor([[True, True, False]]))
    assert torch.isfinite(maps).all()
    assert maps.detach()[0, [0, 2]].abs().max() == 0
    maps.square().sum().backward()
    assert torch.isfinite(points.grad).all()
    assert float(points.grad[0, 1].abs().sum()) > 0
    assert float(points.grad[0, [0, 2]].abs().sum()) == 0


@pytest.mark.parametrize("shape", ["gaussian", "laplace", "laplace_l2", "cone"])
def test_gradients_of_landmarks_and_sigma(shape):
    points = torch.tensor([[[2.3, 1.7], [4.1, 3.6]]], dtype=torch.float64, requires_grad=True)
    sigma = torch.tensor([1.2, 2.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p, s: gaussian_heatmap(p, (5, 6), s, shape=shape), (points, sigma))


@pytest.mark.parametrize("normalize", ["peak", "sum"])
@pytest.mark.parametrize("size", [(5, 6), (4, 3, 5)])
@pytest.mark.parametrize("shape", ["gaussian", "laplace", "laplace_l2", "cone"])
def test_gradients_of_widths_per_axis(shape, size, normalize):
    points = points_of((2, 2, *size)).requires_grad_()
    sigma = widths_of((2, 2, *size), True).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda p, s: gaussian_heatmap(p, size, s, shape=shape, normalize=normalize), (points, sigma)
    )


def test_the_integral_of_an_ellipse_has_a_gradient():
    sigma = torch.tensor([[[2.0, 4.0]]], dtype=torch.float64, requires_grad=True)
    maps = gaussian_heatmap(torch.full((1, 1, 2), 10.0), (20, 20), sigma, shape="disc", normalize="sum")
    maps[0, 0, 10, 10].backward()  # height 1 / (pi * 2 * 4)
    torch.testing.assert_close(sigma.grad, -1 / (math.pi * 8 * sigma.detach()), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(sigma=0.0), "sigma must be positive"),
        (dict(sigma=torch.ones(3)), "sigma must be a scalar"),
        (dict(sigma=torch.ones(2, 2)), r"per axis \(1, 2, 2\), got \(2, 2\)"),
        (dict(sigma=torch.ones(1, 2, 3)), r"\(1, 2\) or per axis \(1, 2, 2\), got \(1, 2, 3\)"),
        (dict(sigma=torch.tensor([[[1.0, 1.0], [1.0, 0.0]]])), "sigma must be positive"),
        (dict(sigma=1.0, size=(4, 4, 4)), r"landmarks must be \(B, K, 3\)"),
        (dict(sigma=1.0, mask=torch.ones(1, 5, dtype=torch.bool)), r"mask must be \(1, 2\)"),
        (dict(sigma=1.0, shape="cube"), "shape must be one of"),
    ],
)
def test_bad_arguments_are_named(kwargs, message):
    kwargs = {"size": (4, 4), **kwargs}
    size, sigma = kwargs.pop("size"), kwargs.pop("sigma")
    with pytest.raises(ValueError, match=message):
        gaussian_heatmap(torch.zeros(1, 2, 2), size, sigma, **kwargs)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("peak", PEAKS)
@pytest.mark.parametrize("shape", SHAPES)
@per_axis
def test_equals_the_twin(shape, peak, device, per_axis):
    landmarks, sigma = points_of(shape, device=device), widths_of(shape, per_axis, device=device)
    for dtype, tolerance in (
        (torch.float64, dict(rtol=1e-12, atol=1e-14)),
        (torch.float32, dict(rtol=1e-4, atol=1e-5)),
        (torch.bfloat16, dict(rtol=1e-2, atol=1e-4)),
        (torch.float16, dict(rtol=1e-3, atol=1e-4)),
    ):
        if peak == "disc" and dtype != torch.float64:
            continue  # a pixel on the rim may fall on either side
        # Far from 0 a float32 is no exact place: both draw the rounded one.
        points, width = (t.to(torch.promote_types(dtype, torch.float32)) for t in (landmarks, sigma))
        actual = gaussian_heatmap(points, shape[2:], width, shape=peak, scale=2.5, dtype=dtype)
        assert actual.dtype == dtype
        height = sigma.new_full(shape[:2], 2.5)
        expected = gaussian_heatmap_reference(points.double(), width.double(), height, shape[2:], peak)
        torch.testing.assert_close(actual.double(), expected, **tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("normalize", ["peak", "sum"])
@pytest.mark.parametrize("peak", ["gaussian", "laplace"])
@per_axis
def test_gradients_equal_the_twins(peak, normalize, dtype, per_axis):
    shape = (2, 3, 9, 37)
    landmarks = points_of(shape, torch.float32).requires_grad_()
    sigma = (torch.rand(2, 3, 2) + 1.5 if per_axis else torch.rand(3) + 1.5).requires_grad_()
    upstream = torch.randn(shape)
    maps = gaussian_heatmap(landmarks, shape[2:], sigma, shape=peak, normalize=normalize, dtype=dtype)
    actual = torch.autograd.grad((maps.float() * upstream).sum(), (landmarks, sigma))
    exact = [t.detach().double().requires_grad_() for t in (landmarks, sigma)]
    width = exact[1] if sigma.ndim == 3 else exact[1].expand(2, 3)
    height = torch.ones(2, 3, dtype=torch.float64)
    if normalize == "sum":
        area = width.prod(-1) if sigma.ndim == 3 else width.square()
        height = height / (2 * torch.pi * area if peak == "gaussian" else 4 * area)
    expected = gaussian_heatmap_reference(exact[0], width, height, shape[2:], peak)
    expected = torch.autograd.grad((expected * upstream.double()).sum(), exact)
    bound = 1e-4 if dtype == torch.float32 else 3e-2
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=bound, atol=bound)


def test_half_a_pixel_is_not_rounded():
    row = gaussian_heatmap(torch.tensor([[[4.5, 0.0]]]), (1, 10), 1.0)[0, 0, 0]
    assert row[4] == row[5]
    assert row[3] == row[6]
    assert row[4] > row[3]


def test_a_centre_outside_leaves_its_slope_inside():
    row = gaussian_heatmap(torch.tensor([[[-2.0, 0.0]]], dtype=torch.float64), (1, 4), 2.0)[0, 0, 0]
    expected = torch.exp(-(torch.arange(4, dtype=torch.float64) + 2).square() / 8)
    torch.testing.assert_close(row, expected)
    far = gaussian_heatmap(torch.tensor([[[1e30, -3e38]]]), (3, 4), 2.0)
    assert (far == 0).all()


@settings(max_examples=30, deadline=None)
@given(
    st.floats(-3, 12), st.floats(-3, 12), st.floats(0.3, 4), st.integers(-3, 3), st.integers(-3, 3),
    st.sampled_from(PEAKS),
)  # fmt: skip
def test_moves_with_its_landmark(x, y, sigma, dx, dy, peak):
    x, y = round(x * 64) / 64, round(y * 64) / 64  # so that adding a whole pixel is exact
    landmarks = torch.tensor([[[x, y], [x + dx, y + dy]]], dtype=torch.float64)
    here, there = gaussian_heatmap(landmarks, (14, 15), sigma, shape=peak)[0]
    shifted = there.roll((-dy, -dx), (0, 1))
    rows, columns = torch.arange(14), torch.arange(15)
    inside = ((rows + dy >= 0) & (rows + dy < 14))[:, None] & ((columns + dx >= 0) & (columns + dx < 15))
    torch.testing.assert_close(here[inside], shifted[inside], rtol=1e-12, atol=1e-15)


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(5)))
def test_order_of_landmarks_is_the_order_of_maps(order):
    landmarks = points_of((1, 5, 6, 7))
    sigma = torch.arange(1.0, 6.0)
    maps = gaussian_heatmap(landmarks, (6, 7), sigma)
    assert torch.equal(gaussian_heatmap(landmarks[:, order], (6, 7), sigma[list(order)]), maps[:, order])


@needs_native
def test_bits_do_not_depend_on_the_number_of_threads():
    shape = (1, 3, 401, 257)
    landmarks = points_of(shape, torch.float32).requires_grad_()
    upstream = torch.randn(shape)
    results = []
    for count in (1, 2, 5):
        with threads(count):
            maps = gaussian_heatmap(landmarks, shape[2:], 7.0)
            results.append((maps.detach(), torch.autograd.grad((maps * upstream).sum(), landmarks)[0]))
    for maps, gradient in results[1:]:
        assert torch.equal(maps, results[0][0])
        assert torch.equal(gradient, results[0][1])


@needs_native
@pytest.mark.parametrize("shape", [(2, 3, 4, 9), (1, 2, 3, 4, 5)])
@per_axis
def test_registration(shape, per_axis):
    operator = torch.ops.mmlandmark.gaussian_heatmap
    landmarks, sigma = points_of(shape), widths_of(shape, per_axis)
    ones = torch.ones(shape[:2], dtype=torch.float64)
    for peak in range(3):
        opcheck(operator.default, landmarks, sigma, ones, list(shape[2:]), peak, torch.float64)
    learning = [t.clone().requires_grad_() for t in (landmarks, sigma, ones)]
    opcheck(operator.default, *learning, list(shape[2:]), 0, torch.float64)
    assert torch.autograd.gradcheck(lambda *a: operator(*a, list(shape[2:]), 1, torch.float64), learning)


@needs_native
def test_operator_names_a_width_that_does_not_fit():
    points, ones = torch.zeros(2, 3, 2), torch.ones(2, 3)
    for sigma in (torch.ones(2, 3, 3), torch.ones(2), torch.ones(2, 3, 1)):
        with pytest.raises(ValueError, match=r"sigma must be \[2, 3\] or \[2, 3, 2\], got"):
            torch.ops.mmlandmark.gaussian_heatmap(points, sigma, ones, [4, 5], 0, torch.float32)


@pytest.mark.parametrize("compiler", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@per_axis
def test_compiled_in_one_graph(compiler, per_axis):
    landmarks = points_of((2, 3, 8, 9), torch.float32).requires_grad_()
    sigma = torch.full((2, 3, 2) if per_axis else (3,), 2.0)

    def energy(landmarks, sigma):
        maps = gaussian_heatmap(landmarks, (8, 9), sigma, normalize="sum")
        return (maps * torch.arange(9.0)).square().sum()

    torch._dynamo.reset()
    actual, expected = (
        torch.compile(energy, fullgraph=True, backend=compiler)(landmarks, sigma),
        energy(landmarks, sigma),
    )
    torch.testing.assert_close(actual, expected)
    slopes = [torch.autograd.grad(value, landmarks)[0] for value in (actual, expected)]
    torch.testing.assert_close(*slopes)
