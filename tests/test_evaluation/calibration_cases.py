"""Made-up tested cases whose errors are known."""

from __future__ import annotations

import numpy as np

from mmlandmark.evaluation import TestedCases
from mmlandmark.structures import LandmarkSchema, Prediction


def made_cases(
    images: int = 200,
    landmarks: int = 4,
    dims: int = 2,
    seed: int = 0,
    temperature: float = 1.0,
    uneven: float = 0.0,
    stretched: float = 1.0,
    spacing: float | None = 0.5,
) -> TestedCases:
    """Return cases with Gaussian errors of the predicted spread times ``temperature``.

    Args:
        images: N.
        landmarks: K; landmark k has errors k + 1 times as large as the first.
        dims: D.
        seed: Of the errors.
        temperature: Factor of the covariance of the errors against the predicted one.
        uneven: Standard deviation of the logarithm of the spread over images.
        stretched: Ratio of the axes of the spread, at a random angle in every image.
        spacing: mm per pixel, or None.
    """
    rng = np.random.default_rng(seed)
    sizes = (1.0 + np.arange(landmarks)) * np.exp(rng.normal(0, uneven, (images, landmarks)))
    turn, _ = np.linalg.qr(rng.normal(size=(images, landmarks, dims, dims)))
    axes = np.ones(dims)
    axes[0] = stretched
    spread = (turn * axes**2) @ np.swapaxes(turn, 2, 3) * sizes[..., None, None] ** 2
    errors = np.linalg.cholesky(spread) @ rng.normal(size=(images, landmarks, dims, 1))
    truth = 450 + rng.uniform(20, 80, (images, landmarks, dims))  # no error leads out of the image
    return TestedCases(
        sample_ids=tuple(f"case{i:04d}" for i in range(images)),
        landmarks=tuple(f"point {k}" for k in range(landmarks)),
        points=truth - np.sqrt(temperature) * errors[..., 0],
        truth=truth,
        spacing=np.full((images, dims), np.nan if spacing is None else spacing),
        scores=1 / (1 + sizes),
        spread=spread,
        presence=np.full((images, landmarks), np.nan),
        deviation=np.full((images, landmarks), np.nan),
        shapes=np.full((images, dims), 1000.0),
    )


def prediction_of(cases: TestedCases, index: int = 0, **changes) -> Prediction:
    """Return one of the cases as a detector would predict it."""
    return Prediction(
        cases.sample_ids[index],
        None,
        (1000,) * cases.dims,
        LandmarkSchema("points", cases.landmarks, cases.dims),
        cases.points[index],
        cases.scores[index],
        spread=cases.spread[index],
        **{"world_from_original": np.diag([*cases.spacing[index], 1.0]), **changes},
    )
