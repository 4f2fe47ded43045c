"""Rules on self-training: which pseudo labels are learnt from, and how the time is divided.

``docs/self_training.md`` lists them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from mmlandmark.planning.budget_rules import FORWARD, RESERVE, Speed, fixed_seconds
from mmlandmark.planning.choice import Choice, duration
from mmlandmark.shape import PointDistributionModel, ShapePrior
from mmlandmark.shape.point_distribution_model import FEWEST_COMPLETE
from mmlandmark.shape.shape_prior import FEWEST

# Of the time; what a stage does not need is left to the next.
SHARES = dict(pre_train=0.4, self_train=0.4, fine_tune=0.2)
LABELLED = 0.5  # of a batch, as in _base_/self_training.py
FEWEST_ROUNDS = 3  # of pseudo labels, so that they can become better
FEWEST_IMAGES = 8  # that a self-training must have time for, if there are so many
_USUAL = 0.95  # of the landmarks of right shapes that are to be kept
_RADIUS = 0.09  # of a shape: twice what 2 mm are of a cephalogram
_LEAST = 0.045  # of a shape, where the modes explain any shape, or none differ


def choose_selector(points: np.ndarray, names: Sequence[str], unit: str) -> Choice:
    """Decide which pseudo labels are learnt from: the selector of ``PseudoLabelHook``.

    Args:
        points: (N, K, D) labelled shapes of the training part, NaN where missing.
        names: Of the K landmarks.
        unit: Of the points, ``mm`` or ``px``.

    Raises:
        ValueError: There are too few shapes, or landmarks.
    """
    there, dims = np.isfinite(points).all(axis=2), points.shape[2]
    if len(names) <= dims:
        raise ValueError(f"self-training needs shapes of more than {dims} landmarks; there are {len(names)}")
    if not there.any(axis=0).all():
        lost = names[int(there.any(axis=0).argmin())]
        raise ValueError(f"self-training: no training image has the landmark {lost!r}; annotate some")
    shapes, complete = int((there.sum(axis=1) > dims).sum()), points[there.all(axis=1)]
    if shapes >= FEWEST:
        ShapePrior.fit(points)  # it has reasons of its own to refuse shapes
        return Choice(
            dict(type="ShapeRegulator", way="agreement", unit=unit),
            f"landmarks that agree with each other, as those of {shapes} labelled shapes do",
        )
    if len(complete) < FEWEST_COMPLETE:
        raise ValueError(
            f"self-training needs at least {FEWEST_COMPLETE} training images with all landmarks, to learn "
            f"which shapes are usual; there {'is' if len(complete) == 1 else 'are'} {len(complete)}"
        )
    limit, why = _limit(complete)
    return Choice(
        dict(type="ShapeRegulator", way="masking", limit=limit, unit=unit),
        f"landmarks within {limit:g} {unit} of the nearest usual shape, {why}; {len(complete)} labelled "
        "shapes are too few to ask for agreement",
    )


def choose_loss(dims: int) -> Choice:
    """Decide by which loss labels are learnt: by ``attention``, or by the ``same`` as before.

    Args:
        dims: Of the images.
    """
    if dims == 2:
        return Choice("attention", "Region Attention, which takes a label for a region")
    return Choice(
        "same",
        "that of pre-training: Region Attention does harm where its regions are smaller than a voxel",
    )


def _limit(complete: np.ndarray) -> tuple[float, str]:
    """Return how far right landmarks may lie from the nearest shape of a model of few, and why."""
    if len(complete) == FEWEST_COMPLETE:
        size = PointDistributionModel.fit(complete).size
        return float(f"{_RADIUS * size:.3g}"), f"{100 * _RADIUS:g} % of the radius of the shapes"
    deviations = []
    for n in range(len(complete)):
        others = PointDistributionModel.fit(np.delete(complete, n, axis=0))
        deviations.append(others.adjust(complete[n : n + 1]).deviation)
    limit = float(np.nanquantile(np.stack(deviations), _USUAL))
    model = PointDistributionModel.fit(complete)
    (landmarks, dims), modes = model.mean.shape, len(model.sigmas)
    free = landmarks * dims - (1 + dims + dims * (dims - 1) // 2)  # without similarity transforms
    if modes in (0, free) and limit < _LEAST * model.size:
        return float(f"{_LEAST * model.size:.3g}"), f"{100 * _LEAST:g} % of the radius of the shapes"
    return float(f"{limit:.3g}"), f"as {100 * _USUAL:g} % are of a labelled shape, by those of the others"


def seen_per_epoch(unlabelled: int) -> int:
    """Return the images of an epoch: every unlabelled one once, the rest of each batch is labelled."""
    return math.ceil(unlabelled / (1 - LABELLED))


def labelling_seconds(speed: Speed, unlabelled: int) -> float:
    """Return how long it takes to label so many images."""
    return unlabelled * FORWARD * speed.iteration / speed.batch


def choose_images(speed: Speed, minutes: float, unlabelled: int, val_images: int) -> Choice:
    """Decide how many unlabelled images are used: all, or as many as there are three rounds of labels for.

    Args:
        speed: Of the network.
        minutes: For the self-training.
        unlabelled: Images there are.
        val_images: Of the validation part.
    """
    fewest = min(unlabelled, FEWEST_IMAGES)
    for images in range(unlabelled, fewest, -max(1, unlabelled // 100)):
        if shortest(speed, images, val_images) <= RESERVE * 60 * minutes:
            break
    else:
        images = fewest
    if images == unlabelled:
        return Choice(images, f"all {images} unlabelled images are used")
    return Choice(
        images,
        f"{images} of {unlabelled} unlabelled images are used, drawn at random: {FEWEST_ROUNDS} rounds of "
        f"labels for more take longer than {duration(minutes)}",
    )


def shortest(speed: Speed, unlabelled: int, val_images: int) -> float:
    """Return the seconds of a self-training of three rounds."""
    seen = seen_per_epoch(unlabelled)
    epoch = math.ceil(seen / speed.batch) * speed.iteration + labelling_seconds(speed, unlabelled)
    return fixed_seconds(speed, seen, val_images) + FEWEST_ROUNDS * epoch


def check_minutes(minutes: float, seconds: Mapping[str, float]) -> None:
    """Refuse a time in which a stage cannot even be short.

    Args:
        minutes: For all stages.
        seconds: That every stage of :data:`SHARES` takes at least.

    Raises:
        ValueError: The time is too short; the message says how long it must be.
    """
    needed = max(seconds[stage] / share for stage, share in SHARES.items()) / RESERVE / 60
    if minutes < needed:
        raise ValueError(
            f"--minutes {minutes:g} is too short a time for pre-training, {FEWEST_ROUNDS} rounds of labels "
            f"and fine-tuning on this machine; give at least {math.ceil(10 * needed) / 10:g}"
        )
