"""Rules on one-shot detection: how the time is divided, how large images are, which labels count.

``docs/one_shot.md`` lists them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from mmlandmark.planning.budget_rules import FORWARD, MOST_IMAGES, RESERVE, Speed, input_sizes
from mmlandmark.planning.choice import Choice, duration

# Detectors that label, and how many of them learn: of three, one is the encoder as it is.
TRAININGS = {1: 1, 3: 2}
BATCH = 8
LABELLED = 1 / BATCH  # the template is one image of every batch of the student
POINTS = 64  # of a patch that are compared
# Copies of the template, and how far they are moved.
COPIES, TURNS = 16, dict(rotation=10, scale=0.05, shift=0.02)
LARGEST = 384  # longest side of the input, the publication's
_DEEP = 256  # longest side of the input from which on embeddings have a fifth level, at a 32nd of the size
_SMALLEST = 128
_ENOUGH = 2000  # images seen, from which on a larger input is worth more than further steps
FEWEST_SEEN = 1000  # images that either stage sees at least: with fewer it knows nothing
_FEWEST_IMAGES = 10  # that can agree with each other


def sizes(median_size: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the candidates for the size of the input, small to large.

    Embeddings of an image and of a patch of it lie on one grid if the sides are multiples of the pixels of
    their coarsest level.

    Args:
        median_size: (*S) of the images.
    """
    fitting = []
    for size in input_sizes(median_size):
        if max(size) <= LARGEST:
            step, scale = 2 ** choose_levels(size).value, max(size) / max(median_size)
            fitting.append(tuple(max(step, step * round(scale * side / step)) for side in median_size))
    large = [size for size in fitting if max(size) >= _SMALLEST and min(size) >= _SMALLEST // 2]
    return large or fitting[-1:]


def share_of(labellers: int) -> float:
    """Return the share of the time for each training of embeddings; the detector gets as much."""
    return 1 / (TRAININGS[labellers] + 1)


def seen_images(
    candidates: Sequence[tuple[int, ...]], measured: Speed, minutes: float, labellers: int
) -> dict[tuple[int, ...], int]:
    """Return how many images a training of embeddings sees at every size.

    Args:
        candidates: See :func:`sizes`.
        measured: Speed at the smallest.
        minutes: For the whole training.
        labellers: See :func:`choose_labellers`.
    """
    per_pixel = measured.iteration / measured.batch / math.prod(candidates[0])
    seconds = 60 * share_of(labellers) * minutes
    return {size: int(seconds / (per_pixel * math.prod(size))) for size in candidates}


def choose_labellers(
    published: bool, candidates: Sequence[tuple[int, ...]], measured: Speed, minutes: float, images: int
) -> Choice:
    """Decide how many detectors label the images: one, or the median of three.

    Args:
        published: Whether the encoder starts from published weights.
        candidates: See :func:`sizes`.
        measured: Speed at the smallest.
        minutes: For the whole training.
        images: Without annotation.
    """
    if not published:
        return Choice(1, "one detector: the encoder as it is, with random weights, would be no help to it")
    seen = seen_images(candidates, measured, minutes, 3)[candidates[0]]
    if seen < _ENOUGH or least_minutes(measured, images, 3) > minutes:
        return Choice(1, f"one detector: {duration(minutes)} is too short a time to train two")
    return Choice(3, "the median of three detectors: two that learn differently, and the encoder as it is")


def choose_levels(size: Sequence[int]) -> Choice:
    """Decide how many levels of embeddings there are, from half the size of the input on.

    Args:
        size: (*S) of the input.
    """
    count = 5 if max(size) >= _DEEP else 4
    return Choice(count, f"{count} levels, from 1/2 to 1/{2**count} of the size")


def choose_size(
    candidates: Sequence[tuple[int, ...]], measured: Speed, minutes: float, images: int, labellers: int = 1
) -> Choice:
    """Decide on the input size: the largest at which enough images are seen while embeddings are learnt.

    All of them are seen at least once, which of many takes a smaller size.

    Args:
        candidates: See :func:`sizes`.
        measured: Speed at the smallest.
        minutes: For the whole training.
        images: Without annotation.
        labellers: See :func:`choose_labellers`.
    """
    seen = seen_images(candidates, measured, minutes, labellers)

    def fits(size: tuple[int, ...]) -> bool:
        slower = measured.iteration * math.prod(size) / math.prod(candidates[0])
        least = least_minutes(replace(measured, iteration=slower), images, labellers)
        return seen[size] >= _ENOUGH and least <= minutes

    size = max(filter(fits, candidates), key=math.prod, default=candidates[0])
    text = "x".join(map(str, size))
    if seen[size] < _ENOUGH:
        return Choice(
            list(size), f"{text}: {duration(minutes)} is a short time, {seen[size]} images are seen"
        )
    reason = "the largest" if size != candidates[-1] else "as large as images are good for, and"
    return Choice(
        list(size), f"{text}, {reason} at which {max(_ENOUGH, images)} images are seen (about {seen[size]})"
    )


def least_minutes(speed: Speed, images: int, labellers: int) -> float:
    """Return the minutes in which every training sees as many images as it has to, in whole epochs.

    Args:
        speed: Of a step that learns embeddings.
        images: Without annotation.
        labellers: See :func:`choose_labellers`.
    """
    epochs = zip(_fewest_epochs(images), _epoch_seconds(speed, images), strict=True)
    least = max(count * seconds for count, seconds in epochs) / share_of(labellers)
    return (_fixed_seconds(speed, images, labellers) + least) / 60 / RESERVE


def _fixed_seconds(speed: Speed, images: int, labellers: int) -> float:
    """Return the seconds beside the epochs: all runs start and read the images, and labellers label them."""
    labels = labellers * images * FORWARD * speed.iteration / speed.batch
    return (labellers + 1) * (speed.start + images * speed.first_read) + labels


def _epoch_seconds(speed: Speed, images: int) -> tuple[float, float]:
    """Return the seconds of an epoch of the embeddings and of one of the detector."""
    each = speed.iteration / speed.batch
    return (max(images, BATCH) + COPIES * FORWARD) * each, max(images / (1 - LABELLED), BATCH) * each


def _fewest_epochs(images: int) -> tuple[int, int]:
    """Return the epochs of the embeddings and of the detector that see as many images as they have to."""
    first, second = (math.ceil(FEWEST_SEEN / max(n, BATCH)) for n in (images, images / (1 - LABELLED)))
    return first, second


def choose_epochs(
    speed: Speed, minutes: float, images: int, labellers: int = 1
) -> tuple[Choice, Choice, float]:
    """Decide on the epochs of the trainings of embeddings and of the detector.

    Before every epoch of the embeddings the copies of the template are encoded. A step of the student, which
    sees no patches, takes no longer than one that was measured.

    Args:
        speed: Of a step that learns embeddings.
        minutes: For all, with the labels between them.
        images: Without annotation.
        labellers: See :func:`choose_labellers`.

    Returns:
        Epochs of the embeddings, those of the student, and the minutes that all is expected to take.

    Raises:
        ValueError: The time is too short for an epoch of each; the message says how long it must be.
    """
    seen = images / (1 - LABELLED)
    trainings, share = TRAININGS[labellers], share_of(labellers)
    fixed, epoch = _fixed_seconds(speed, images, labellers), _epoch_seconds(speed, images)
    left, fewest = 60 * RESERVE * minutes - fixed, _fewest_epochs(images)
    needed = least_minutes(speed, images, labellers)
    if minutes < needed:
        raise ValueError(
            f"--minutes {minutes:g} is too short a time for trainings that see {FEWEST_SEEN} images each "
            f"on this machine; give at least {math.ceil(10 * needed) / 10:g}, or fewer and smaller images"
        )
    most = [math.ceil(MOST_IMAGES / count) for count in (images, seen)]
    first = max(fewest[0], min(int(share * left / epoch[0]), most[0]))
    second = max(fewest[1], min(int((left - trainings * first * epoch[0]) / epoch[1]), most[1]))
    taken = [first * epoch[0], second * epoch[1]]
    choices = [
        Choice(count, f"{int(count * shown)} images seen, about {duration(seconds / 60)}")
        for count, shown, seconds in zip((first, second), (images, seen), taken, strict=True)
    ]
    return choices[0], choices[1], (fixed + trainings * taken[0] + taken[1]) / 60


def choose_selector(landmarks: int, images: int) -> Choice:
    """Decide which labels are learnt from.

    Args:
        landmarks: K, of the template.
        images: Without annotation.
    """
    if landmarks <= 3:
        return Choice(
            dict(type="KeepAll"), f"all: {landmarks} landmarks make no shape that could tell right from wrong"
        )
    if images < _FEWEST_IMAGES:
        return Choice(dict(type="KeepAll"), f"all: {images} images are too few to agree with each other")
    return Choice(
        dict(type="ShapeConsensus"),
        "landmarks that are where the shape of the template and most images expect them",
    )
