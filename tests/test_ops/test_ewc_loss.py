"""The fused EWC loss against its definition, pixel by pixel."""

from __future__ import annotations

import pytest
import torch

from mmlandmark.ops import ewc_error, ewc_loss, ewc_loss_map, gaussian_heatmap
from test_ops.op_testing import (
    DEVICES,
    LAYOUTS,
    SHAPES,
    TOLERANCES,
    free_gigabytes,
    laid_out,
    linux_only,
    maps_of,
    needs_native,
    opcheck,
    points_of,
    threads,
    widths_of,
)

per_axis = pytest.mark.parametrize("per_axis", [False, True], ids=["one width", "per axis"])

ops = torch.ops.mmlandmark


def slow_loss(pred, landmarks, sigma, alpha):
    """Write the equation down in float64, with the target in memory."""
    pred, landmarks = pred.double(), landmarks.double()
    batch, count, *size = pred.shape
    axes = [torch.arange(side, dtype=torch.float64, device=pred.device) for side in size]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1)
    offsets = grid - landmarks.reshape(batch, count, *[1] * len(size), len(size))
    width = torch.as_tensor(sigma, dtype=torch.float64, device=pred.device)
    if width.ndim < 3:
        width = width.expand(batch, count)[..., None].expand_as(landmarks)
    scaled = offsets / width.reshape(batch, count, *[1] * len(size), len(size))
    target = (-scaled.square().sum(-1) / 2).exp()
    return ((pred - target).square() * alpha**target).flatten(2).sum(-1)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", list(TOLERANCES))
@pytest.mark.parametrize("shape", SHAPES)
@per_axis
def test_loss_and_gradient_equal_the_equation(shape, dtype, device, per_axis):
    pred = maps_of(shape, dtype, device).requires_grad_()
    landmarks, sigma = points_of(shape, device=device), widths_of(shape, per_axis, device=device) / 2 + 0.5
    work = torch.promote_types(dtype, torch.float32)
    landmarks, sigma = landmarks.to(work), sigma.to(work)  # far from 0 a float32 is no exact place
    expected_pred = pred.detach().double().requires_grad_()
    expected = slow_loss(expected_pred, landmarks, sigma.double(), 40.0)
    losses = ewc_loss(pred, landmarks, sigma, 40.0, reduction="none")
    assert losses.dtype == work
    torch.testing.assert_close(losses.double(), expected, **TOLERANCES[work])
    losses.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(pred.grad.double(), expected_pred.grad, **TOLERANCES[dtype])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(2, 5, 6, 35), (2, 3, 4, 5, 18)])
def test_memory_layout_makes_no_difference(shape, layout):
    pred = laid_out(maps_of(shape), layout)
    landmarks = points_of(shape)
    plain = pred.detach().clone(memory_format=torch.contiguous_format).requires_grad_()
    pred.requires_grad_()
    target = gaussian_heatmap(points_of(shape, seed=3), shape[2:], 2.0)
    for loss in (lambda p: ewc_loss(p, landmarks, 2.0), lambda p: ewc_loss_map(p, target)):
        actual = torch.autograd.grad(loss(pred), pred)[0]
        expected = torch.autograd.grad(loss(plain), plain)[0]
        assert torch.equal(actual, expected)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_reductions_weights_and_mask(reduction):
    shape = (2, 3, 5, 8)
    pred, landmarks = maps_of(shape), points_of(shape)
    mask = torch.tensor([[True, False, True], [True, True, False]])
    weight = torch.rand(2, 3, dtype=torch.float64) + 0.5
    sums = slow_loss(pred, landmarks, 1.5, 40.0)
    used = weight * mask
    expected = {
        "none": sums * used,
        "sum": (sums * used).sum(),
        "mean": (sums * used).sum() / (used.sum() * 40),
    }[reduction]
    actual = ewc_loss(pred, landmarks, 1.5, mask=mask, weight=weight, reduction=reduction)
    torch.testing.assert_close(actual, expected)
    target = gaussian_heatmap(landmarks, shape[2:], 1.5)
    actual = ewc_loss_map(pred, target, mask=mask, weight=weight, reduction=reduction)
    torch.testing.assert_close(actual, expected)


def test_alpha_one_is_the_squared_error():
    shape = (2, 3, 9, 40)
    pred, landmarks = maps_of(shape), points_of(shape)
    target = gaussian_heatmap(landmarks, shape[2:], 2.0)
    expected = torch.nn.functional.mse_loss(pred, target)
    torch.testing.assert_close(ewc_loss(pred, landmarks, 2.0, 1.0), expected)
    torch.testing.assert_close(ewc_loss_map(pred, target, 1.0), expected)


@pytest.mark.parametrize("alpha", [0.1, 1.0, 40.0, 1e4])
@pytest.mark.parametrize("shape", [(2, 2, 4, 17), (1, 2, 3, 4, 9)])
@per_axis
def test_gradcheck(alpha, shape, per_axis):
    pred = maps_of(shape).requires_grad_()
    landmarks, sigma = points_of(shape), widths_of(shape, per_axis)
    target = torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda p: ewc_loss(p, landmarks, sigma, alpha, reduction="none"), pred)
    assert torch.autograd.gradcheck(lambda p: ewc_loss_map(p, target, alpha, reduction="none"), pred)


def test_landmarks_sigma_and_weight_learn_too():
    shape = (1, 2, 4, 6)
    pred = maps_of(shape).requires_grad_()
    landmarks, sigma = points_of(shape).requires_grad_(), torch.tensor([1.0, 2.0]).double().requires_grad_()
    weight = torch.rand(1, 2, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda p, x, s, w: ewc_loss(p, x, s, 40.0, weight=w), (pred, landmarks, sigma, weight)
    )


@pytest.mark.parametrize("shape", [(2, 2, 4, 6), (1, 2, 3, 4, 5)])
def test_a_width_per_axis_learns(shape):
    pred, landmarks = maps_of(shape).requires_grad_(), points_of(shape).requires_grad_()
    sigma = torch.nn.Parameter(widths_of(shape, True)[0])  # (K, D), the same for all images
    assert torch.autograd.gradcheck(
        lambda p, x, s: ewc_loss(p, x, s.expand_as(landmarks)), (pred, landmarks, sigma)
    )


def test_a_thin_peak_far_along_one_axis():
    """Which columns have a weight depends on the width along x alone."""
    shape = (1, 1, 40, 400)
    pred, landmarks = maps_of(shape, torch.float32), torch.tensor([[[200.0, 20.0]]])
    for sigma in ((60.0, 1.0), (1.0, 60.0)):
        width = torch.tensor([[sigma]])
        expected = slow_loss(pred, landmarks, width, 40.0)
        loss = ewc_loss(pred, landmarks, width, reduction="none")
        torch.testing.assert_close(loss.double(), expected, rtol=2e-6, atol=0)


def test_gradient_is_scaled_by_what_comes_after():
    shape = (2, 2, 5, 18)
    pred, landmarks = maps_of(shape).requires_grad_(), points_of(shape)
    (plain,) = torch.autograd.grad(ewc_loss(pred, landmarks, 2.0), pred)
    (scaled,) = torch.autograd.grad(3 * ewc_loss(pred, landmarks, 2.0) + 1, pred)
    torch.testing.assert_close(scaled, 3 * plain)
    loss = ewc_loss(pred, landmarks, 2.0)
    twice = [torch.autograd.grad(loss, pred, retain_graph=True)[0] for _ in range(2)]
    assert torch.equal(*twice)
    # What one backward returned may be changed without changing the next.
    loss.backward(retain_graph=True)
    pred.grad.mul_(7)
    loss.backward()
    torch.testing.assert_close(pred.grad, 8 * plain)


def test_missing_landmarks_are_not_looked_at():
    shape = (2, 3, 6, 20)
    pred, landmarks = maps_of(shape), points_of(shape)
    landmarks[0, 0] = float("nan")
    landmarks[0, 1, 0] = float("inf")
    mask = torch.ones(2, 3, dtype=torch.bool)
    mask[1, 2] = False
    for b, k in ((0, 0), (0, 1), (1, 2)):
        pred[b, k] = float("nan")
    pred.requires_grad_()
    losses = ewc_loss(pred, landmarks, 2.0, mask=mask, reduction="none")
    assert (losses[0, :2] == 0).all()
    assert losses[1, 2] == 0
    assert (losses[0, 2], losses[1, 0]) > (0, 0)
    losses.sum().backward()
    missing = torch.tensor([[True, True, False], [False, False, True]])
    assert torch.isfinite(pred.grad[~missing]).all()
    assert (pred.grad[missing] == 0).all()


def test_nothing_annotated_gives_zero():
    pred = maps_of((2, 2, 3, 4)).requires_grad_()
    landmarks = torch.full((2, 2, 2), float("nan"), dtype=torch.float64)
    for reduction in ("mean", "sum"):
        loss = ewc_loss(pred, landmarks, 1.0, reduction=reduction)
        assert loss == 0
        assert (torch.autograd.grad(loss, pred)[0] == 0).all()


def test_nan_in_an_annotated_map_is_seen():
    for shape in ((1, 1, 5, 40), (1, 1, 3, 5, 7)):
        for position in (0, -1):
            pred = maps_of(shape, torch.float32)
            pred.view(-1)[position] = float("nan")
            assert ewc_loss(pred, points_of(shape), 1.0).isnan()


def test_centres_far_outside_are_background():
    pred = maps_of((1, 3, 6, 40), torch.float32)
    landmarks = torch.tensor([[[1e9, 3.0], [-1e30, 1e30], [5.0, -3e38]]])
    losses = ewc_loss(pred, landmarks, 2.0, reduction="none")
    torch.testing.assert_close(losses, pred.square().flatten(2).sum(-1))


def test_empty_batch():
    for shape in ((0, 3, 4, 5), (2, 0, 4, 5)):
        pred = torch.zeros(shape, requires_grad=True)
        loss = ewc_loss(pred, torch.zeros(*shape[:2], 2), 1.0)
        assert loss == 0
        loss.backward()
        assert pred.grad.shape == shape


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(pred=torch.zeros(2, 3, 4)), r"pred must be .*\(2, 3, 4\)"),
        (dict(pred=torch.zeros(2, 3, 4, 5, dtype=torch.int64)), "pred must be a floating point"),
        (dict(landmarks=torch.zeros(2, 4, 2)), r"landmarks must be \(2, 3, 2\).*got \(2, 4, 2\)"),
        (dict(landmarks=torch.zeros(2, 3, 2, device="meta")), "landmarks are on meta, pred is on cpu"),
        (dict(sigma=0.0), "sigma must be positive, got 0.0"),
        (dict(sigma=torch.tensor([1.0, -1.0, 1.0])), "sigma must be positive"),
        (dict(sigma=float("nan")), "sigma must be positive"),
        (
            dict(sigma=torch.ones(4)),
            r"a scalar, \(3,\), \(2, 3\) or per axis \(2, 3, 2\), got \(4,\)",
        ),
        (dict(alpha=0.0), "alpha must be positive"),
        (dict(mask=torch.ones(3, 2)), r"mask must be \(2, 3\), got \(3, 2\)"),
        (dict(weight=torch.ones(3)), r"weight must be \(2, 3\), got \(3,\)"),
        (dict(reduction="median"), "reduction must be one of"),
    ],
)
def test_bad_arguments_are_named(change, message):
    arguments = dict(pred=torch.zeros(2, 3, 4, 5), landmarks=torch.zeros(2, 3, 2), sigma=1.0) | change
    with pytest.raises(ValueError, match=message):
        ewc_loss(**arguments)


def test_target_of_another_shape_is_named():
    with pytest.raises(ValueError, match=r"target must be \(1, 1, 2, 3\) as pred, got \(1, 1, 3, 2\)"):
        ewc_loss_map(torch.zeros(1, 1, 2, 3), torch.zeros(1, 1, 3, 2))


def test_bfloat16_predictions_are_summed_in_float32():
    shape = (1, 2, 64, 300)
    pred, landmarks = maps_of(shape, torch.bfloat16), points_of(shape, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = ewc_loss(pred, landmarks, 3.0)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, ewc_loss(pred.float(), landmarks, 3.0), rtol=1e-5, atol=0)


def test_a_scaled_loss_of_float16_has_a_gradient():
    shape = (1, 2, 200, 160)
    pred, landmarks = maps_of(shape, torch.float16), points_of(shape, torch.float32)
    half, single = pred.clone().requires_grad_(), pred.float().requires_grad_()
    for maps in (half, single):  # as by a GradScaler
        (ewc_loss(maps, landmarks, 3.0) * 2**16).backward()
    torch.testing.assert_close(half.grad.float(), single.grad, rtol=2e-3, atol=1e-4)


@needs_native
def test_bits_do_not_depend_on_the_number_of_threads():
    shape = (2, 3, 301, 257)
    pred, landmarks = maps_of(shape, torch.float32).requires_grad_(), points_of(shape, torch.float32)
    results = []
    for count in (1, 2, 3, 7):
        with threads(count):
            loss = ewc_loss(pred, landmarks, 3.0)
            results.append((loss.detach(), torch.autograd.grad(loss, pred)[0]))
    for loss, gradient in results[1:]:
        assert torch.equal(loss, results[0][0])
        assert torch.equal(gradient, results[0][1])


@needs_native
@pytest.mark.parametrize("dtype", list(TOLERANCES))
def test_registration(dtype):
    shape = (2, 3, 4, 9)
    work = torch.promote_types(dtype, torch.float32)
    pred, points = maps_of(shape, dtype), points_of(shape, work)
    ones = torch.ones(2, 3, dtype=work)
    opcheck(ops.ewc_loss.default, pred, points, ones, ones, 3.0, False)
    opcheck(ops.ewc_loss.default, pred, points, widths_of(shape, True, work), ones, 3.0, False)
    opcheck(ops.ewc_loss.default, pred.requires_grad_(), points, ones, ones, 3.0, True)
    opcheck(ops.ewc_loss_map.default, pred, maps_of(shape, dtype, seed=5), ones, 3.0, True)


@needs_native
def test_operator_names_what_does_not_fit():
    pred, points, ones = torch.zeros(2, 3, 4, 5), torch.zeros(2, 3, 2), torch.ones(2, 3)
    with pytest.raises(ValueError, match=r"landmarks must be \[2, 3, 2\], got \[2, 2, 2\]"):
        ops.ewc_loss(pred, points[:, :2], ones, ones, 0.0, False)
    with pytest.raises(ValueError, match=r"sigma must be \[2, 3\] or \[2, 3, 2\], got \[3\]"):
        ops.ewc_loss(pred, points, ones[0], ones, 0.0, False)
    with pytest.raises(ValueError, match="sigma must be Float, got Double"):
        ops.ewc_loss(pred, points, ones.double(), ones, 0.0, False)


@pytest.mark.parametrize("compiler", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@per_axis
def test_compiled_in_one_graph(compiler, per_axis):
    shape = (2, 3, 8, 33)
    pred, landmarks = maps_of(shape, torch.float32).requires_grad_(), points_of(shape, torch.float32)
    sigma = torch.full((2, 3, 2) if per_axis else (3,), 2.0)
    mask = torch.tensor([[True, True, False], [True, False, True]])

    def loss(pred, landmarks, sigma):
        return 2 * ewc_loss(pred * 1.5, landmarks, sigma, mask=mask)

    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend=compiler)
    expected = loss(pred, landmarks, sigma)
    actual = compiled(pred, landmarks, sigma)
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(torch.autograd.grad(actual, pred)[0], torch.autograd.grad(expected, pred)[0])


def test_error_of_a_pixel():
    actual = ewc_error(torch.tensor([0.5, 0.0]), torch.tensor([1.0, 0.0]), 40.0)
    torch.testing.assert_close(actual, torch.tensor([10.0, 0.0]))


@needs_native
@linux_only
@pytest.mark.slow
def test_more_pixels_than_32_bits_count():
    side = 46400  # its square is above 2^31
    if free_gigabytes() < 14:
        pytest.skip(f"needs 14 GB of memory, {free_gigabytes():.0f} are free")
    pred = torch.zeros(1, 1, side, side, dtype=torch.bfloat16)
    pred[..., -1, -1] = 1
    landmarks = torch.tensor([[[side - 1.0, side - 1.0]]])
    losses, slopes = ops.ewc_loss(pred, landmarks, torch.ones(1, 1), torch.ones(1, 1), 0.0, True)
    quarter = gaussian_heatmap(landmarks - (side - 30), (30, 30), 1.0).square().sum() - 1
    torch.testing.assert_close(losses[0, 0], quarter, rtol=1e-3, atol=0)
    assert slopes[0, 0, -1, -1] == 0
    assert slopes[0, 0, -1, -2] < -1
