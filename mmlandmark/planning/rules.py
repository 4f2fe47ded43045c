"""Rules on the data: each is a function of a few numbers, and returns a choice with its reason.

The rules on size, network and schedule, which depend on time and memory, are in
:mod:`mmlandmark.planning.budget_rules`. ``docs/plan.md`` lists all of them.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from mmlandmark.planning.choice import Choice, OpenQuestion

FEWEST_PATIENTS = 5
_THREE_PARTS = 40  # patients from which a validation part of its own is worth its images
_PART_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
_COLOUR = 0.5
_SMALL_RANGE = 1 / 8  # as in the check of pixels
_BRIGHT = 0.25
_SAME_ASPECT = 0.02
_STRETCHED = 1.25  # times, from which on images are padded
_HOUNSFIELD = -200.0  # values so low are those of air in a CT
_SAME_CONTRAST = 1.5
_ANY_ANGLE = 80.0  # standard deviation in degrees, close to the 104 of any angle


def choose_parts(patients: int, parts: Mapping[str, int]) -> Choice:
    """Decide how images are divided.

    Args:
        patients: Number of groups that stay together, of images with a landmark.
        parts: Images with a landmark by the split of the annotation, ``""`` for none.

    Returns:
        ``{"train": share, ...}``; or ``{"train": [names of splits], ...}`` if the annotation divides them.

    Raises:
        ValueError: There are too few patients, or no image of the annotation's training part has a landmark.
    """
    named = {
        role: [name for name in parts if name.lower() in names or name.lower().rstrip("0123456789") in names]
        for role, names in _PART_NAMES.items()
    }
    given = {role: names for role, names in named.items() if any(parts[name] for name in names)}
    if named["train"] and "train" not in given:
        raise ValueError(
            f"no image of the split {named['train'][0]!r} has a landmark: annotate some, or leave the splits "
            "out so that the plan makes new ones"
        )
    if "train" in given and len(given) > 1:
        counts = ", ".join(f"{sum(parts[n] for n in names)} {role}" for role, names in given.items())
        unused = sum(count for name, count in parts.items() if not any(name in n for n in given.values()))
        rest = f"; {unused} images of no or another split are not used" if unused else ""
        return Choice(given, f"the annotation divides the images: {counts}{rest}{_one_part_twice(given)}")
    if patients < FEWEST_PATIENTS:
        who = "1 patient is" if patients == 1 else f"{patients} patients are"
        raise ValueError(
            f"{who} too few to train on some and test on others; annotate at least {FEWEST_PATIENTS}"
        )
    if patients < _THREE_PARTS:
        shares = dict(train=0.8, test=0.2)
        return Choice(shares, f"only {patients} patients{_one_part_twice(shares)}")
    return Choice(dict(train=0.7, val=0.1, test=0.2), f"{patients} patients, dealt out at random")


def _one_part_twice(parts: Mapping[str, object]) -> str:
    """Return what to say where validation and test use one part, as the end of a sentence."""
    if {"val", "test"} <= set(parts):
        return ""
    return (
        f"; validation and test use the same images ({'test' if 'test' in parts else 'val'}.txt), so "
        "settings that are tuned on the validation flatter the test"
    )


def choose_measures(names: Sequence[str]) -> Choice:
    """Decide which measures the test compares: all that the schema declares."""
    return Choice(list(names), f"{len(names)} of the schema" if names else "the schema declares none")


def choose_unit(
    images: int, spacing_known: int, reference: tuple[str, str, float] | None, scale_without_unit: bool
) -> Choice:
    """Decide on the unit of errors: ``mm`` or ``px``.

    Args:
        images: Number of images.
        spacing_known: Images with a spacing.
        reference: Two landmarks and their distance in mm, or None.
        scale_without_unit: Images have a ``SCALE=`` whose unit nobody has said.
    """
    if reference is not None:
        first, second, mm = reference
        return Choice("mm", f"from {first} to {second} it is {mm:g} mm, as you said")
    if spacing_known == images:
        return Choice("mm", "all images have a spacing")
    if scale_without_unit:
        return Choice("px", "SCALE= in the file has no unit")
    if spacing_known:
        return Choice("px", f"only {spacing_known} of {images} images have a spacing")
    return Choice("px", "no image has a spacing")


def choose_channels(colour: float) -> Choice:
    """Decide between grey (1) and colour (3), by the fraction of images with colours."""
    if colour >= _COLOUR:
        return Choice(3, f"{colour:.0%} of the images have colours")
    grey = "the images are grey" if colour == 0 else f"only {colour:.0%} of the images have colours"
    return Choice(1, grey)


def choose_value_range(bits: int | None, used: float, values: Sequence[float]) -> Choice:
    """Decide what black and white are: arguments of ``LoadImage``.

    Args:
        bits: Largest number of bits of the values, None for floats.
        used: Part of the range of these bits that the values take.
        values: (lowest, highest).
    """
    low, high = values
    if bits is not None and low >= 0 and _SMALL_RANGE < used <= 1.001:
        return Choice({}, f"{bits} bits, of which {used:.0%} are used")
    if bits is not None and low >= 0 and used <= 1.001:
        needed = max(8, 2 * math.ceil(math.log2(high + 1) / 2))  # detectors have 10, 12 or 14 bits
        if needed < bits:
            return Choice(
                dict(bits=needed), f"the values reach {high:g}, so {needed} of the file's {bits} bits count"
            )
    if bits is None and low >= -0.01 and high <= 1.01:
        return Choice({}, "floating point from 0 to 1")
    return Choice(
        dict(value_range=(_short(low), _short(high))),
        f"99 % of the values lie from {low:g} to {high:g}",
    )


def choose_contrast(dims: int, bits: int | None, values: Sequence[float], own_contrast: float) -> Choice:
    """Decide whether the grey values of every volume are stretched to one range, from its own percentiles.

    Args:
        dims: 2 or 3; images are not stretched.
        bits: Largest number of bits of the values, None for floats.
        values: (lowest, highest).
        own_contrast: How many times larger the range of grey values is in one volume than in another.

    Returns:
        Arguments of ``NormalizeIntensity``, or None.
    """
    if dims == 2:
        return Choice(None, "grey values of images are comparable")
    if bits != 8 and values[0] <= _HOUNSFIELD:
        return Choice(
            None, f"values down to {values[0]:g} look like Hounsfield units, which mean the same in all"
        )
    if own_contrast <= _SAME_CONTRAST:
        return Choice(None, "the range of grey values is about the same in all volumes")
    return Choice(
        dict(mode="percentile", low=0.5, high=99.5),
        f"the range of grey values is {own_contrast:.1f} times larger in one volume than in another: each is "
        "stretched to its own",
    )


def choose_normalisation(
    mean: float, std: float, file_range: Sequence[float], value_range: Sequence[float]
) -> Choice:
    """Decide which mean and deviation of grey values the network's input is normalised by.

    Args:
        mean: Between black (0) and white (1) of the files.
        std: Standard deviation likewise.
        file_range: (black, white) of the files.
        value_range: (black, white) that is chosen in its place, see :func:`grey_range`.
    """
    middle = rescaled(mean, file_range, value_range)
    deviation = rescaled(mean + std, file_range, value_range) - middle
    value = dict(mean=round(middle, 3), std=max(round(deviation, 3), 0.01))
    return Choice(value, "grey values get mean 0 and deviation 1")


def rescaled(grey: float, file_range: Sequence[float], value_range: Sequence[float]) -> float:
    """Return a grey value between black (0) and white (1) of one range as such a value of another range."""
    value = file_range[0] + grey * (file_range[1] - file_range[0])
    return (value - value_range[0]) / (value_range[1] - value_range[0])


def grey_range(load: Mapping[str, Any], bits: int | None, file_range: Sequence[float]) -> tuple[float, float]:
    """Return (black, white) as ``LoadImage`` takes them with the arguments of :func:`choose_value_range`.

    Args:
        load: These arguments.
        bits: Largest number of bits of the values, None for floats.
        file_range: (black, white) of the files.
    """
    low, high = load.get("value_range", file_range)
    if "bits" in load and bits is not None:
        high = low + (high - low) * (2.0 ** load["bits"] - 1) / (2.0**bits - 1)
    return float(low), float(high)


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def choose_aspect(aspect_spread: float, size: Sequence[int] = (), median_size: Sequence[int] = ()) -> Choice:
    """Decide whether images are padded to the proportions of the input (True) or all have them (False).

    Args:
        aspect_spread: Largest relative deviation of an image's proportions from those of the median size.
        size: (*S) of the input, if it is chosen: its sides are rounded, and have a least length.
        median_size: (*S) of the images.
    """
    scales = [new / old for new, old in zip(size, median_size, strict=True)]
    if scales and max(scales) > _STRETCHED * min(scales):
        times = max(scales) / min(scales)
        return Choice(True, f"an input of these sides would stretch images {times:.1f} times: padded")
    if aspect_spread <= _SAME_ASPECT:
        return Choice(False, "all images have the same proportions")
    return Choice(True, f"proportions differ by up to {aspect_spread:.0%}: padded, never stretched")


def choose_border(border: float) -> Choice:
    """Decide what lies outside of an image: ``constant`` (black) or ``replicate``, its last pixels."""
    if border > _BRIGHT:
        return Choice("replicate", f"they end bright ({border:.0%} of white): black would be an edge")
    return Choice("constant", f"they end dark ({border:.0%} of white)")


def choose_augmentation(
    rotation: float | Sequence[float], scale: float, position: float, pairs: Sequence[Sequence[int]]
) -> Choice:
    """Decide how much training images are turned, resized, moved and mirrored.

    Args:
        rotation: Standard deviation of the shapes' rotation, degrees; of volumes, about x, y and z of the
            patient.
        scale: Standard deviation of the logarithm of their size.
        position: Standard deviation of their centres, as a fraction of the shorter side.
        pairs: Landmarks that a mirror swaps.

    Returns:
        ``rotation``, ``scale`` and ``shift`` of ``RandomAffine``, and ``mirror``.
    """
    turn: Any
    if isinstance(rotation, int | float):
        turn, about = min(180, 10 + 5 * round(rotation / 5)), f"{rotation:.0f} degrees"
    else:
        turn = tuple(180 if sd > _ANY_ANGLE else 10 + 5 * round(sd / 5) for sd in rotation)
        about = f"{', '.join(f'{sd:.0f}' for sd in rotation)} degrees about x, y, z of the patient"
    size = min(0.3, 0.1 + 0.01 * round(50 * scale))
    shift = min(0.15, 0.05 + 0.01 * round(50 * position))
    mirror = bool(pairs)
    why = f"shapes differ by {about}, {scale:.0%} in size, {position:.0%} in place (sd)"
    count = f"{len(pairs)} pair{'s' if len(pairs) > 1 else ''}"
    mirrored = f"; mirrors swap {count}" if mirror else "; no mirrors: no pairs are declared"
    return Choice(
        dict(rotation=turn, scale=round(size, 2), shift=round(shift, 2), mirror=mirror), why + mirrored
    )


def choose_workers(on_gpu: bool, cores: int) -> Choice:
    """Decide how many processes load images."""
    if on_gpu:
        return Choice(min(8, max(cores - 1, 1)), f"a GPU waits for images, there are {cores} cores")
    return Choice(0, "on a CPU the network needs the cores itself")


def choose_loaded_size(size: Sequence[int], largest: Sequence[int]) -> Choice:
    """Decide at which size images are loaded and kept, from (*S) of the input and of the largest image."""
    factor = max(1.0, min(2.0, max(whole / side for whole, side in zip(largest, size, strict=True))))
    why = (
        "twice the input, so that turned images lose no detail"
        if factor == 2
        else "that of the largest image"
    )
    return Choice([math.ceil(factor * side) for side in size], why)


def choose_cache(images: int, size: Sequence[int], channels: int, bits: int | None, memory: float) -> Choice:
    """Decide whether decoded images stay in memory: GiB for those of the training part, or None.

    Volumes that are too large for the memory stay on disk, ``"disk"``: decompressing one takes longer than a
    training step.

    Args:
        images: Of the training part.
        size: (*S) of the images that are kept.
        channels: Of the images.
        bits: Of their values, None for floats.
        memory: Bytes that a training may take; a quarter of it may be images.
    """
    each = math.prod(size) * channels * (4 if bits is None or bits > 16 else 1 if bits <= 8 else 2)
    gigabytes = images * each / 2**30
    if images * each <= memory / 4:
        return Choice(math.ceil(11 * gigabytes + 1) / 10, f"{gigabytes:.2f} GB of images stay in memory")
    if len(size) == 3:
        return Choice("disk", f"{gigabytes:.1f} GB of decoded volumes are kept on disk, in the folder cache")
    return Choice(None, f"{gigabytes:.1f} GB of images are too many to keep in memory")


def suggested_pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return landmarks whose names differ by left and right only; a suggestion, never a decision."""
    pairs = []
    for left, right in (("left", "right"), ("l_", "r_"), ("_l", "_r"), ("L", "R")):
        for name in names:
            other = name.replace(left, right)
            if other != name and other in names and name.count(left) == 1:
                pairs.append((name, other))
    return list(dict.fromkeys(pairs))


def given_pairs(names: Sequence[str], pairs: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs that ``--pairs a:b c:d`` names.

    Raises:
        OpenQuestion: One is not two landmarks; the landmarks are listed.
    """
    found = []
    for pair in pairs:
        parts = pair.split(":")  # names may have colons, too
        cuts = [(":".join(parts[:n]), ":".join(parts[n:])) for n in range(1, len(parts))]
        fitting = [(a, b) for a, b in cuts if a in names and b in names and a != b]
        if len(fitting) != 1:
            raise OpenQuestion(
                f"--pairs {shlex.quote(pair)}: a pair is two landmarks with a colon between them, like "
                f"{shlex.quote(f'{names[0]}:{names[-1]}')}; the landmarks are {', '.join(names)}"
            )
        found += fitting
    return found
