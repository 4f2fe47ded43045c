"""Resampling: the native operator is its twin, whatever the type, the border, the layout and the threads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from mmlandmark.ops import resample, using_reference
from mmlandmark.ops.resample import BORDERS, INTERPOLATIONS, _positions, is_native
from mmlandmark.structures import rotation_matrix, scale_matrix, translation_matrix
from test_ops.op_testing import needs_native, opcheck, threads

# Largest difference between native operator and twin, of values up to 200. Integers may be rounded apart.
TOLERANCES = {
    torch.uint8: 1.0, torch.int16: 1.0, torch.uint16: 1.0, torch.float16: 0.13, torch.float32: 0.01,
}  # fmt: skip
# An odd angle, zooms along the axes, a mirror, and a frame that lies mostly outside.
MATRICES = {
    "turned": rotation_matrix((11, 23, 37), (12, 15, 10)) @ scale_matrix(0.83, (12, 15, 10)),
    "zoomed": scale_matrix((0.71, 1.33, 0.93), (3.1, 4.2, 5.3)),
    "mirrored": scale_matrix((-0.71, 1.33, 0.93), (13.1, 4.2, 5.3)),
    "outside": translation_matrix((-30.317, 20.429, 7.613)) @ scale_matrix(2.713, (1, 2, 3)),
}


def image_of(size, dtype=torch.float32, seed=0):
    values = torch.rand(size, generator=torch.Generator().manual_seed(seed)) * 200
    return (values - 100 if dtype == torch.int16 else values).to(dtype)


def matrix_of(name, dims=3):
    if dims == 3:
        return torch.from_numpy(MATRICES[name])
    # The plane of a matrix that turns about z alone.
    plane = rotation_matrix(17, (9, 8)) @ np.asarray(MATRICES[name])[[0, 1, 3]][:, [0, 1, 3]]
    return torch.from_numpy(plane)


def lattice_of(counts, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((len(counts), *counts), generator=generator) * 2


@needs_native
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_the_native_operator_is_its_twin(dtype, name, border, dims):
    size, image = (21, 22, 23)[-dims:], image_of((20, 30, 25)[-dims:], dtype)
    step = (2, 5, 3)[-dims:]
    assert is_native(image)
    for displacement in (None, lattice_of([-(-(n - 1) // s) + 1 for n, s in zip(size, step, strict=True)])):
        how = dict(displacement=displacement, step=step, border=border, value=7.0)
        native = resample(image, matrix_of(name, dims), size, **how)
        with using_reference():
            twin = resample(image, matrix_of(name, dims), size, **how)
        assert native.dtype == twin.dtype == dtype
        assert native.shape == twin.shape == size
        assert (native.double() - twin.double()).abs().max() <= TOLERANCES[dtype]
        nearest = resample(image, matrix_of(name, dims), size, interpolation="nearest", **how)
        with using_reference():
            other = resample(image, matrix_of(name, dims), size, interpolation="nearest", **how)
        # A position in the middle between two pixels may belong to either.
        assert (nearest.double() != other.double()).double().mean() < 1e-3


@pytest.mark.parametrize("native", [pytest.param(True, marks=needs_native), False])
@pytest.mark.parametrize("name", MATRICES)
def test_inside_it_is_what_scipy_interpolates(name, native):
    image, size = image_of((20, 30, 25)), (21, 22, 23)
    read = resample if native else _twin
    result = read(image, matrix_of(name), size, displacement=lattice_of((21, 22, 23)), border="replicate")
    places = _positions(matrix_of(name), size, lattice_of((21, 22, 23)), (1, 1, 1)).numpy()
    expected = map_coordinates(
        image.numpy().astype(np.float64), np.moveaxis(places[..., ::-1], -1, 0), order=1, mode="nearest"
    )
    assert np.abs(result.numpy() - expected).max() < 0.01


def _twin(*args, **kwargs):
    with using_reference():
        return resample(*args, **kwargs)


@pytest.mark.parametrize("native", [pytest.param(True, marks=needs_native), False])
def test_borders(native):
    image = torch.tensor([[10.0, 20.0, 30.0]])
    places = torch.tensor([-4.0, -3.0, -1.5, -1.0, -0.25, 0.25, 2.0, 2.25, 3.0, 3.5, 4.0])
    displacement = torch.stack([places - torch.arange(11), torch.zeros(11)])[:, None]
    expected = {
        "constant": [5, 5, 5, 5, 8.75, 12.5, 30, 23.75, 5, 5, 5],
        "replicate": [10, 10, 10, 10, 10, 12.5, 30, 30, 30, 30, 30],
        "reflect": [30, 30, 15, 10, 10, 12.5, 30, 30, 30, 25, 20],
    }
    read = resample if native else _twin
    for border, values in expected.items():
        result = read(image, torch.eye(3), (1, 11), displacement=displacement, border=border, value=5)
        torch.testing.assert_close(result, torch.tensor([values], dtype=torch.float32), atol=1e-4, rtol=0)


@needs_native
@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 9, 1), (7, 1, 2), (2, 2, 2), (1, 1, 300)])
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_thin_volumes(shape, border, interpolation):
    image, matrix = image_of(shape), torch.from_numpy(MATRICES["zoomed"] @ translation_matrix((-3, -3, -3)))
    how = dict(border=border, interpolation=interpolation, value=3.0)
    native = resample(image, matrix, (9, 10, 11), **how)
    torch.testing.assert_close(native, _twin(image, matrix, (9, 10, 11), **how), atol=0.01, rtol=0)


@needs_native
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_any_strides_are_read_in_place(dtype):
    image = image_of((20, 30, 25), dtype)
    wide = image_of((40, 50, 60), dtype, seed=5)
    wide[3:23, 4:34, 5:30] = image
    every = torch.zeros((40, 60, 50), dtype=dtype)
    every[::2, ::2, ::2] = image
    fortran = image.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    for name in ("turned", "zoomed"):
        expected = resample(image, matrix_of(name), (21, 22, 23))
        for same in (wide[3:23, 4:34, 5:30], every[::2, ::2, ::2], fortran):
            assert torch.equal(resample(same, matrix_of(name), (21, 22, 23)), expected)
    flat = image[:1].expand(20, 30, 25)
    assert torch.equal(
        resample(flat, matrix_of("turned"), (9, 9, 9)), resample(flat.clone(), matrix_of("turned"), (9, 9, 9))
    )


@needs_native
def test_bits_do_not_depend_on_the_number_of_threads():
    image, displacement = image_of((40, 50, 60)), lattice_of((11, 12, 13))
    results = []
    for count in (1, 2, 5):
        with threads(count):
            results.append(
                resample(image, matrix_of("turned"), (41, 42, 43), displacement=displacement, step=(4, 4, 4))
            )
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@needs_native
def test_integers_are_rounded_and_clipped():
    for dtype in (torch.uint8, torch.int16, torch.uint16):
        limits = torch.iinfo(dtype)
        image = torch.tensor([[limits.min, limits.max, limits.max - 1]], dtype=torch.int32).to(dtype)
        assert torch.equal(resample(image, torch.eye(3), (1, 3)), image)
        shifted = torch.from_numpy(translation_matrix((0.5, 0)))
        result = resample(image, shifted, (1, 3), border="constant", value=1e6)
        middle = round((limits.min + limits.max) / 2 + 1e-9)
        assert abs(int(result[0, 0].int()) - middle) <= 1
        assert int(result[0, 2].int()) == limits.max


@needs_native
def test_nan_in_the_displacement_reads_no_foreign_memory():
    displacement = torch.full((3, 4, 4, 4), float("nan"))
    for border in BORDERS:
        for interpolation in INTERPOLATIONS:
            result = resample(
                image_of((5, 5, 5)), torch.eye(4), (4, 4, 4), displacement=displacement, border=border,
                interpolation=interpolation,
            )  # fmt: skip
            assert result.shape == (4, 4, 4)


def test_gradients_come_from_the_twin():
    image = image_of((5, 6, 7)).requires_grad_()
    assert not is_native(image)
    resample(image, torch.eye(4), (5, 6, 7)).sum().backward()
    torch.testing.assert_close(image.grad, torch.ones(5, 6, 7))


def test_other_types_go_to_the_twin():
    image = image_of((5, 6, 7)).to(torch.int32)
    assert not is_native(image)
    assert torch.equal(resample(image, torch.eye(4), (5, 6, 7)), image)
    wide = image_of((5, 6, 7)).double()
    torch.testing.assert_close(resample(wide, torch.eye(4), (5, 6, 7)), wide)


@needs_native
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_operator_is_registered_properly(dtype):
    image, nodes = image_of((5, 6, 7), dtype), lattice_of((3, 3, 3))
    operator = torch.ops.mmlandmark.resample.default
    opcheck(operator, image, matrix_of("turned"), [4, 5, 5], None, [1, 1, 1], 0, 0, 1.0)
    opcheck(operator, image, matrix_of("turned"), [4, 5, 5], nodes, [2, 2, 2], 1, 2, 0.0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (dict(image=torch.zeros(3)), "image must be"),
        (dict(image=torch.zeros(3, 0, 3)), "image must be"),
        (dict(matrix=torch.eye(3)), r"matrix must be \(4, 4\)"),
        (dict(matrix=torch.full((4, 4), float("inf"))), "matrix must be finite"),
        (dict(size=(3, 3)), "size must have 3 sides"),
        (dict(step=(1, 0, 1)), "step must be 3 positive numbers"),
        (dict(displacement=torch.zeros(2, 3, 3, 3)), r"displacement must be \(3, \*L\)"),
        (dict(displacement=torch.zeros(3, 2, 3, 3)), "does not cover"),
        (dict(interpolation="cubic"), "interpolation must be one of"),
        (dict(border="wrap"), "border must be one of"),
    ],
)
def test_wrong_arguments_are_named(arguments, words):
    image = arguments.pop("image", torch.zeros(4, 4, 4))
    matrix = arguments.pop("matrix", torch.eye(4))
    with pytest.raises(ValueError, match=words):
        resample(image, matrix, arguments.pop("size", (3, 3, 3)), **arguments)


@needs_native
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({0: torch.zeros(4, 4)}, "volume must be"),
        ({0: torch.zeros(4, 4, 4, dtype=torch.int64)}, "volume must be uint8"),
        ({1: torch.eye(4)}, "matrix must be"),
        ({2: [3, 3]}, "size must be"),
        ({2: [3, 0, 3]}, "size must have sides"),
        ({3: torch.zeros(3, 1, 1, 1)}, "does not cover"),
        ({4: [0, 1, 1]}, "step must be"),
    ],
)
def test_the_operator_itself_refuses_what_would_read_elsewhere(change, words):
    arguments = [
        torch.zeros(4, 4, 4), torch.eye(4, dtype=torch.float64), [3, 3, 3], None, [1, 1, 1], 0, 0, 0.0,
    ]  # fmt: skip
    for place, value in change.items():
        arguments[place] = value
    with pytest.raises(ValueError, match=words):
        torch.ops.mmlandmark.resample(*arguments)
