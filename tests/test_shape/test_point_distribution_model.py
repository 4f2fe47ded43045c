"""Mean shape and modes of variation: what is learnt, adjusted and found abnormal."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes

from mmlandmark.shape import PointDistributionModel, align, mirror_image, shapiro_wilk

K, MODES = 9, 4
dimensions = pytest.mark.parametrize("dims", [2, 3])
estimators = pytest.mark.parametrize("robust", [False, True])


def rotations(rng: np.random.Generator, count: int, dims: int) -> np.ndarray:
    """Return (N, D, D) rotations."""
    turn = np.linalg.qr(rng.normal(size=(count, dims, dims)))[0]
    turn[:, :, 0] *= np.linalg.det(turn)[:, None]
    return turn


def shapes(dims: int, count: int = 80, seed: int = 0, spread: float = 2.0, modes: int = MODES) -> np.ndarray:
    """Return shapes of a few modes at any place, in any rotation and size, of a radius of about 50."""
    family, rng = np.random.default_rng(99), np.random.default_rng(seed)
    base = family.normal(size=(K, dims)) * 40
    ways = family.normal(size=(modes, K * dims)) * np.linspace(1, 0.4, modes)[:, None]
    points = base + (rng.normal(0, spread, (count, modes)) @ ways).reshape(count, K, dims)
    points = points * rng.uniform(0.7, 1.4, (count, 1, 1)) @ rotations(rng, count, dims)
    return points + rng.normal(0, 99, (count, 1, dims))


def of_model(model: PointDistributionModel, count: int, widths: float, seed: int = 1) -> np.ndarray:
    """Return shapes whose parameters are at most ``widths`` standard deviations, moved anywhere."""
    rng = np.random.default_rng(seed)
    b = rng.uniform(-widths, widths, (count, len(model.sigmas))) * model.sigmas
    return model.shape(b) @ rotations(rng, count, model.mean.shape[1]) * 1.3 + 40.0


def slowly_adjusted(model: PointDistributionModel, shape: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Follow equations 3 to 6 for one complete shape; return it adjusted, and its parameters."""
    place = shape.mean(axis=0)
    turn, _ = orthogonal_procrustes(shape - place, model.mean)
    turned = (shape - place) @ turn
    factor = (model.mean**2).sum() / (turned * model.mean).sum()  # into the tangent space of the mean
    b = [float(mode @ (factor * turned - model.mean).ravel()) for mode in model.components]  # equation 4
    limited = [max(-3 * s, min(3 * s, e)) for e, s in zip(b, model.sigmas, strict=True)]  # equation 5
    moved = sum(e * mode for e, mode in zip(limited, model.components, strict=True))
    adjusted = (model.mean + moved.reshape(shape.shape)) / factor @ turn.T + place  # equation 6
    return adjusted, np.array(b)


@dimensions
def test_the_modes_of_shapes_are_found(dims):
    points = shapes(dims, 400, spread=0.3)
    model = PointDistributionModel.fit(points, variance=0.999)
    assert len(model.sigmas) == MODES
    np.testing.assert_allclose(model.components @ model.components.T, np.eye(MODES), atol=1e-9)
    b = model.parameters(points)
    np.testing.assert_allclose(b.std(axis=0, ddof=1), model.sigmas, rtol=1e-6)
    np.testing.assert_allclose(b.mean(axis=0), 0, atol=1e-6)
    assert 0.999 <= model.shares.sum() <= 1
    assert model.size == pytest.approx(align(points, model.mean).scales.mean(), rel=0.01)
    assert model.movements[0] == pytest.approx(model.sigmas[0] * model.size / 3, rel=1e-9)
    assert model.count == 400
    assert not model.mirrored


@dimensions
@estimators
def test_adjustment_follows_the_equations(dims, robust):
    model = PointDistributionModel.fit(shapes(dims), robust=robust)
    asked = shapes(dims, 12, seed=3, spread=6.0) + np.random.default_rng(0).normal(0, 2, (12, K, dims))
    adjusted = model.adjust(asked)
    for n, shape in enumerate(asked):
        expected, b = slowly_adjusted(model, shape)
        np.testing.assert_allclose(adjusted.points[n], expected, atol=1e-8)
        np.testing.assert_allclose(adjusted.parameters[n], b, atol=1e-10)
        distance = np.linalg.norm(expected - shape, axis=1)
        np.testing.assert_allclose(adjusted.deviation[n], distance, atol=1e-8)
    assert (np.abs(adjusted.parameters) > 3 * model.sigmas).any(), "no parameter had to be limited"


@dimensions
@estimators
def test_shapes_of_the_model_stay_where_they_are(dims, robust):
    model = PointDistributionModel.fit(shapes(dims), robust=robust)
    asked = of_model(model, 20, widths=2.99)
    np.testing.assert_allclose(model.adjust(asked).points, asked, atol=1e-8)
    far = of_model(model, 20, widths=6.0)
    once = model.adjust(far)
    assert once.deviation.max() > 1
    np.testing.assert_allclose(model.adjust(once.points).points, once.points, atol=1e-8)


@dimensions
def test_place_size_and_rotation_do_not_matter(dims):
    model = PointDistributionModel.fit(shapes(dims))
    asked = shapes(dims, 10, seed=4, spread=6.0)
    asked[3, 2] = asked[4, :2] = np.nan
    turn = rotations(np.random.default_rng(5), 10, dims)
    plain, moved = model.adjust(asked), model.adjust(1.7 * asked @ turn - 30)
    np.testing.assert_allclose(moved.parameters, plain.parameters, atol=1e-9)
    np.testing.assert_allclose(moved.points, 1.7 * plain.points @ turn - 30, atol=1e-7)
    np.testing.assert_allclose(moved.deviation, 1.7 * plain.deviation, atol=1e-8)


@dimensions
def test_what_is_learnt_does_not_depend_on_place_size_and_rotation(dims):
    points = shapes(dims, 40)
    rng = np.random.default_rng(6)
    moved = points @ rotations(rng, 40, dims) * rng.uniform(0.5, 2, (40, 1, 1)) + 9.0
    first, second = PointDistributionModel.fit(points), PointDistributionModel.fit(moved)
    np.testing.assert_allclose(first.sigmas, second.sigmas, rtol=1e-6)
    asked = shapes(dims, 5, seed=7, spread=5.0)
    np.testing.assert_allclose(first.adjust(asked).points, second.adjust(asked).points, atol=1e-5)


@dimensions
@estimators
def test_the_mean_has_the_usual_rotation(dims, robust):
    rng = np.random.default_rng(0)
    base = shapes(dims, 1)[0]
    points = base + rng.normal(0, 1, (40, K, dims))
    points[:9] = base @ rotations(rng, 9, dims)  # the most typical ones, but turned
    model = PointDistributionModel.fit(points, robust=robust)
    np.testing.assert_allclose(model.shape(np.zeros(len(model.sigmas))), base - base.mean(axis=0), atol=3)
    np.testing.assert_allclose(model.adjust(points).points, points, atol=9)


@dimensions
def test_partial_shapes_of_the_model_stay_where_they_are(dims):
    # Small variations, since rotations of partial shapes are known to first order only.
    model = PointDistributionModel.fit(shapes(dims, spread=0.3), variance=0.999)
    asked = of_model(model, 30, widths=2.0)
    rng = np.random.default_rng(2)
    for shape in asked:
        shape[rng.choice(K, 2, replace=False)] = np.nan
    adjusted = model.adjust(asked)
    np.testing.assert_array_equal(np.isnan(adjusted.points), np.isnan(asked))
    np.testing.assert_array_equal(np.isnan(adjusted.deviation), np.isnan(asked).any(axis=2))
    assert np.nanmax(adjusted.deviation) < 0.02 * model.size
    assert np.nanmean(adjusted.deviation) < 0.002 * model.size


@dimensions
def test_of_a_partial_shape_the_most_likely_parameters_count(dims):
    model = PointDistributionModel.fit(shapes(dims, 200, modes=12), variance=1.0)
    asked = shapes(dims, 20, seed=8, modes=12)
    asked[:, dims + 1 :] = np.nan  # just enough to be aligned: far more modes than coordinates
    assert len(model.sigmas) > (dims + 1) * dims
    adjusted = model.adjust(asked)
    assert np.isfinite(adjusted.points[:, : dims + 1]).all()
    within = np.sqrt(((adjusted.parameters / model.sigmas) ** 2).sum(axis=1))
    assert within.max() < 2 * np.sqrt((dims + 1) * dims)
    np.testing.assert_allclose(adjusted.points[:, : dims + 1], asked[:, : dims + 1], atol=3)


@dimensions
def test_a_partial_shape_is_fitted_by_parameters_and_a_free_similarity(dims):
    model = PointDistributionModel.fit(shapes(dims, 200, modes=12), variance=1.0)
    shape = shapes(dims, 1, seed=8, modes=12)[0]
    here = [0, 1, 3, 4, 6]
    shape[[2, 5, 7, 8]] = np.nan
    place, goal = shape[here].mean(axis=0), model.mean[here].mean(axis=0)
    target = model.mean[here] - goal
    turn, _ = orthogonal_procrustes(shape[here] - place, target)
    turned = (shape[here] - place) @ turn
    offsets = goal + turned * (target**2).sum() / (turned * target).sum() - model.mean[here]
    modes = (
        (model.components * model.sigmas[:, None]).reshape(-1, K, dims)[:, here].reshape(-1, len(here) * dims)
    )
    turns = [np.outer(a, b) - np.outer(b, a) for i, a in enumerate(np.eye(dims)) for b in np.eye(dims)[:i]]
    moves = [np.tile(axis, len(here)) for axis in np.eye(dims)]
    moves += [(target @ change).ravel() for change in (np.eye(dims), *turns)]
    # The shortest solution: moves of the whole shape cost next to nothing.
    columns = np.concatenate([modes, 1e5 * np.stack(moves)]).T
    z = np.linalg.lstsq(columns, offsets.ravel(), rcond=1e-12)[0][: len(modes)]
    found = model.adjust(shape[None]).parameters[0] / model.sigmas
    assert np.abs(z).max() > 0.5
    np.testing.assert_allclose(found, z, atol=1e-3)


@dimensions
def test_abnormal_landmarks_are_found_and_the_others_stay(dims):
    model = PointDistributionModel.fit(shapes(dims))
    asked = of_model(model, 6, widths=2.0)
    asked[1, 3] += 60.0
    asked[2, 5] = np.nan
    asked[3, 1:] = np.nan
    asked[4] = shapes(dims, 1, seed=9)[0] + np.random.default_rng(0).normal(0, 0.5, (K, dims))
    regulated = model.regulate(asked, limit=2.0)
    assert regulated.adjusted.tolist() == [True, False, True, False, True, True]
    adjusted = model.adjust(asked)
    np.testing.assert_array_equal(regulated.points[1], asked[1])
    np.testing.assert_array_equal(regulated.kept[1], adjusted.deviation[1] <= 2.0)
    assert not regulated.kept[1, 3]
    np.testing.assert_array_equal(regulated.kept[2], np.arange(K) != 5)
    assert not regulated.kept[3].any()  # one landmark is no shape
    np.testing.assert_array_equal(regulated.points[3], asked[3])
    np.testing.assert_array_equal(regulated.points[4], adjusted.points[4])
    assert 0.01 < np.abs(regulated.points[4] - asked[4]).max() < 2
    np.testing.assert_array_equal(regulated.deviation, adjusted.deviation)


@dimensions
def test_deviations_are_mm_where_the_spacing_is_known(dims):
    model = PointDistributionModel.fit(shapes(dims))
    mm = shapes(dims, 6, seed=3, spread=6.0)
    rng = np.random.default_rng(1)
    # Voxels of any size, along axes that are turned in the patient.
    steps = rotations(rng, 6, dims) * rng.uniform(0.2, 2, (6, 1, dims))
    pixels = np.linalg.solve(steps[:, None], mm[..., None])[..., 0]
    expected, found = model.adjust(mm), model.adjust(pixels, steps)
    np.testing.assert_allclose(found.deviation, expected.deviation, atol=1e-8)
    np.testing.assert_allclose(found.points @ steps.swapaxes(1, 2), expected.points, atol=1e-7)
    same = model.adjust(pixels, steps[0])
    np.testing.assert_allclose(same.deviation[0], expected.deviation[0], atol=1e-8)
    steps[2] = np.nan  # of this case it is not known
    regulated = model.regulate(pixels, limit=1.0, steps=steps)
    assert not regulated.kept[2].any()
    np.testing.assert_array_equal(regulated.points[2], pixels[2])
    np.testing.assert_array_equal(regulated.kept[1], expected.deviation[1] <= 1.0)


@dimensions
@estimators
def test_either_side_is_usual_where_mirror_images_are(dims, robust):
    points = shapes(dims)
    points[::2] = mirror_image(points[::2])
    model = PointDistributionModel.fit(points, robust=robust)
    assert model.mirrored
    asked = shapes(dims, 8, seed=4, spread=6.0)
    plain, other = model.adjust(asked), model.adjust(mirror_image(asked))
    np.testing.assert_allclose(other.points, mirror_image(plain.points), atol=1e-8)
    np.testing.assert_allclose(other.deviation, plain.deviation, atol=1e-8)


def test_fewer_shapes_than_landmarks_have_one_mode_less():
    points = shapes(2, 6, modes=12)
    model = PointDistributionModel.fit(points, variance=1.0)
    assert len(model.sigmas) == 5
    np.testing.assert_allclose(model.adjust(points).points, points, atol=1e-6)
    robust = PointDistributionModel.fit(shapes(2, 12, modes=12), variance=1.0, robust=True)
    assert len(robust.sigmas) == 2 * K - 4  # all but translation, rotation and scaling


def test_wrong_shapes_hardly_change_a_robust_model():
    points = shapes(2, 200)
    wrong = points.copy()
    wrong[:10, 3] += 200.0
    for robust, ratio in ((False, (1.5, np.inf)), (True, (0.5, 1.5))):
        clean, faulty = (PointDistributionModel.fit(p, robust=robust).sigmas[0] for p in (points, wrong))
        assert ratio[0] < faulty / clean < ratio[1]


def test_missing_landmarks_leave_a_shape_out():
    points = shapes(2, 30)
    points[5:, 2] = np.nan
    points[6, 2] = np.inf
    points[7, 2, 0] = 5.0
    model = PointDistributionModel.fit(points)
    assert model.count == 5
    np.testing.assert_array_equal(model.sigmas, PointDistributionModel.fit(points[:5]).sigmas)
    missing = np.isnan(model.adjust(points).points)
    assert (missing.any(axis=2) == missing.all(axis=2)).all()
    np.testing.assert_array_equal(missing.any(axis=2), ~np.isfinite(points).all(axis=2))
    assert PointDistributionModel.fit(points, robust=True).count == 30


@dimensions
def test_collinear_shapes_stay_collinear(dims):
    rng = np.random.default_rng(0)
    points = np.zeros((30, K, dims))
    points[..., 0] = np.arange(K) + rng.normal(0, 0.1, (30, K))
    model = PointDistributionModel.fit(points)
    adjusted = model.adjust(points + 5.0)
    assert np.isfinite(adjusted.points).all()
    np.testing.assert_allclose(adjusted.points[..., 1:], 5.0, atol=1e-8)


def test_equal_shapes_have_no_modes_and_a_point_no_shape():
    model = PointDistributionModel.fit(np.repeat(shapes(2, 1), 4, axis=0))
    assert (len(model.sigmas), model.parameters(shapes(2, 2)).shape) == (0, (2, 0))
    asked = shapes(2, 2, seed=5)
    asked[1] = 7.0  # all landmarks at one point
    regulated = model.regulate(asked, limit=1e9)
    assert regulated.adjusted.tolist() == [True, False]
    np.testing.assert_array_equal(regulated.points[1], asked[1])


@dimensions
def test_no_shapes_give_no_results(dims):
    model = PointDistributionModel.fit(shapes(dims))
    regulated = model.regulate(np.zeros((0, K, dims)), steps=np.zeros((0, dims, dims)))
    assert regulated.points.shape == (0, K, dims)
    assert regulated.kept.shape == regulated.deviation.shape == (0, K)
    assert model.parameters(np.zeros((0, K, dims))).shape == (0, len(model.sigmas))


def test_normal_parameters_are_told_from_others():
    rng = np.random.default_rng(0)
    b = np.stack([rng.normal(0, 3, 300), rng.exponential(1, 300), np.zeros(300)], axis=1)
    result = shapiro_wilk(b)
    assert result[0, 1] > 0.05 > 1e-6 > result[1, 1]
    assert result[0, 0] > 0.98 > result[1, 0]
    assert np.isnan(result[2]).all()
    assert np.isnan(shapiro_wilk(b[:2])).all()
    many = shapiro_wilk(rng.normal(0, 1, (12001, 1)))  # scipy warns beyond 5000
    assert many[0, 1] > 0.01


def test_the_model_knows_how_normal_its_shapes_were():
    points = shapes(2, 200)
    model = PointDistributionModel.fit(points)
    np.testing.assert_allclose(model.normality, shapiro_wilk(model.parameters(points)))
    assert (model.normality[:MODES, 1] > 0.01).all()


@pytest.mark.parametrize(
    ("points", "options", "message"),
    [
        (
            shapes(2, 2),
            {},
            "at least 3 complete shapes of more than 2 landmarks that differ; of 2 shapes 2 are",
        ),
        (shapes(2, 9)[:, :2], {}, "of 9 shapes 0 are"),
        (np.ones((9, K, 2)), {}, "of 9 shapes 0 are"),
        (shapes(2, 9), dict(robust=True), "at least 10 shapes"),
        (shapes(2, 9), dict(variance=99.99), "variance must be above 0 and at most 1, got 99.99"),
        (shapes(2, 9), dict(variance=0.0), "variance must be above 0"),
    ],
)
def test_what_no_model_can_be_learnt_from_is_refused(points, options, message):
    with pytest.raises(ValueError, match=message):
        PointDistributionModel.fit(points, **options)


def test_other_landmarks_are_refused():
    with pytest.raises(ValueError, match=r"expected shapes \(N, 9, 2\), those of the model, got \(4, 8, 2\)"):
        PointDistributionModel.fit(shapes(2)).adjust(shapes(2, 4)[:, 1:])


@dimensions
@estimators
def test_a_saved_model_is_the_same(dims, robust, tmp_path):
    model = PointDistributionModel.fit(shapes(dims), robust=robust)
    model.save(tmp_path / "a.json")
    loaded = PointDistributionModel.load(tmp_path / "a.json")
    for name, value in vars(model).items():
        np.testing.assert_array_equal(getattr(loaded, name), value)
    few = PointDistributionModel.fit(np.repeat(shapes(dims, 1), 4, axis=0))  # no modes at all
    few.save(tmp_path / "b.json")
    assert PointDistributionModel.load(tmp_path / "b.json").components.shape == (0, K * dims)


def test_an_unknown_normality_is_saved(tmp_path):
    model = PointDistributionModel.fit(shapes(2))
    model = replace(model, normality=np.full_like(model.normality, np.nan))
    model.save(tmp_path / "a.json")
    assert np.isnan(PointDistributionModel.load(tmp_path / "a.json").normality).all()


DAMAGES = {
    "format": "another",
    "mean": [1.0, 2.0],
    "components": [[1.0, 2.0]],
    "sigmas": None,
    "shares": ["a"],
    "size": float(10**30) * 1e300,
    "count": "many",
    "mirrored": 3,
}


@pytest.mark.parametrize("key", [*DAMAGES, "missing", "null", "turned", "more", "cut", "list", "negative"])
def test_damaged_and_foreign_files_are_one_sentence(key, tmp_path):
    path = tmp_path / "a.json"
    PointDistributionModel.fit(shapes(2)).save(path)
    content = json.loads(path.read_text())
    if key == "missing":
        del content["mean"]
    elif key == "null":
        content["mean"][0][0] = None
    elif key == "turned":
        content["components"][0][0] += 0.5
    elif key == "more":
        content["code"] = "import os"
    elif key == "negative":
        content["sigmas"][0] *= -1
    else:
        content.update({key: DAMAGES[key]} if key in DAMAGES else {})
    text = json.dumps([content] if key == "list" else content)
    path.write_text(text[:200] if key == "cut" else text)
    with pytest.raises(ValueError, match=r"a\.json") as caught:
        PointDistributionModel.load(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(path))
