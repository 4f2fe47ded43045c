"""Random predictions for tests of writers and readers."""

from __future__ import annotations

import numpy as np

from mmlandmark.structures import LandmarkSchema, MeasuredValue, Prediction, world_matrix

# What has broken somebody's file: separators, quotes, markup, other scripts, digits, long names.
NAMES = (
    "sella",
    "subspinale (A)",
    "left, inner; outer",
    'the "so-called" point',
    "it's <b> & </b>",
    "Größe œ",
    "鼻根点",
    "نقطة",
    "17",
    "a_x",
    "a.",
    "wide - ",
    "R superior LMS",
)


def schema_of(dims: int, names: tuple[str, ...] = NAMES) -> LandmarkSchema:
    """Return a schema with links and names that are hard to write."""
    return LandmarkSchema("odd names", names, dims, links=((0, 1),))


def random_frame(rng: np.random.Generator, dims: int, world: int | None = None) -> np.ndarray:
    """Return a (W+1, D+1) frame: rotated, anisotropic, with negative directions, anywhere.

    Args:
        rng: Source of the draws.
        dims: D, 2 or 3.
        world: W; None takes D.
    """
    world = dims if world is None else world
    axes, _ = np.linalg.qr(rng.normal(size=(world, world)))
    axes = axes * rng.choice([-1.0, 1.0], size=world)
    return world_matrix(np.exp(rng.uniform(-2.5, 1.5, dims)), rng.uniform(-300, 300, world), axes[:, :dims])


def random_prediction(
    rng: np.random.Generator, schema: LandmarkSchema, sample_id: str = "a", **changes
) -> Prediction:
    """Return a prediction with every field, some landmarks missing and one of them absent."""
    count, dims = len(schema), schema.dims
    shape = changes.get("shape", tuple(int(n) for n in rng.integers(20, 90, dims)))
    points = rng.uniform(-0.5, np.array(shape[::-1]) - 0.5, (count, dims))
    lost = rng.random(count) < 0.3
    lost[:2] = [True, False]
    points[lost] = np.nan
    presence = np.where(lost, rng.uniform(0, 1, count), 1.0)
    presence[0] = 0.1
    radii = np.where(lost, np.nan, rng.uniform(0.1, 9, count))
    square = rng.normal(size=(count, dims, dims))
    spread = square @ square.transpose(0, 2, 1)
    fields = dict(
        sample_id=sample_id,
        image=f"{sample_id}.png",
        shape=shape,
        schema=schema,
        points=points,
        scores=np.where(lost, 0.0, rng.random(count)),
        world_from_original=random_frame(rng, dims),
        spread=spread,
        presence=presence,
        deviation=rng.uniform(0, 9, count),
        radii={0.9: radii, 0.95: radii * 1.3},
        radius_unit="mm",
        regions={0.9: spread * 4},
        reasons=tuple('far, from "all"; others' if k == 1 else "" for k in range(count)),
        measures=(MeasuredValue("ANB", 3.5, "degrees", 0.7, "class I"), MeasuredValue("d", np.nan, "mm")),
    )
    return Prediction(**(fields | changes))


def error_in_mm(prediction: Prediction, points: np.ndarray) -> float:
    """Return the largest distance of (K, D) points from the predicted ones; inf if others are missing."""
    found = np.isfinite(points).all(axis=1)
    if not np.array_equal(found, prediction.found):
        return float("inf")
    matrix = prediction.world_from_original
    steps = np.eye(points.shape[1]) if matrix is None else matrix[:-1, :-1]
    return float(np.linalg.norm((points - prediction.points)[found] @ steps.T, axis=1).max())
