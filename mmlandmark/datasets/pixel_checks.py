"""Checks of the pixels of a few images: range, orientation, proportions, bit depth."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmlandmark.datasets.check_cases import Finding
from mmlandmark.datasets.check_kinds import KINDS
from mmlandmark.datasets.image_io import LoadedImage, NonFinitePixels, from_array, read_image
from mmlandmark.datasets.landmark_dataset import LandmarkDataset
from mmlandmark.datasets.transforms import (
    CenterCrop,
    CropAroundLandmarks,
    LoadImage,
    NormalizeIntensity,
    Pad,
    RandomCrop,
    Resize,
    TakeHalf,
)
from mmlandmark.utils.dataset_tree import leaf_datasets

SMALL_RANGE = 1 / 8  # of black to white; 12-bit values use 1/16 of 16 bits
LARGE_RANGE = 8.0
STRETCH = 1.5
MAX_PIXELS = 2**27  # two volumes of 400 x 400 x 400: seconds, not minutes
_SIZING = (Resize, CenterCrop, CropAroundLandmarks, Pad, RandomCrop, TakeHalf)


@dataclass(frozen=True)
class _Case:
    """One image as the pipeline of its dataset loads it."""

    record: dict[str, Any]
    image: LoadedImage
    load: LoadImage
    steps: tuple[Any, ...]
    split: str

    def finding(self, check: str, message: str, **more: Any) -> Finding:
        return _finding(self.record, self.split, check, message, **more)


def pixel_findings(dataset: Any, max_images: int = 8, split: str = "") -> list[Finding]:
    """Read a few images, evenly spread over a dataset, and report odd pixels.

    These are: pixels that are NaN or infinite, constant images, values that use an eighth or less of the
    range from black to white (12-bit values in 16-bit files) or are far outside of it, orientation tags and
    other tags that the reader ignores, images that the pipeline stretches by more than 1.5, and images of
    mixed bit depth. Ranges do not matter if the pipeline has a ``NormalizeIntensity``.

    Args:
        dataset: A dataset, or a wrapper around one or several.
        max_images: Number of images to read; fewer large volumes, up to 2**27 voxels in all.
        split: Name of the split, for the findings.

    Returns:
        Findings in the order of the images, then those about all of them.
    """
    places = [(leaf, index) for leaf in leaf_datasets(dataset) for index in range(len(leaf))]
    chosen = np.unique(np.linspace(0, len(places) - 1, min(max_images, len(places))).round().astype(int))
    findings: list[Finding] = []
    cases: list[_Case] = []
    for leaf, index in (places[i] for i in chosen):
        case = _read(leaf, index, split)
        if isinstance(case, Finding):
            findings.append(case)
        else:
            cases.append(case)
        if sum(c.image.array.size for c in cases) > MAX_PIXELS:
            break
    advice = _range_advice(cases)
    for case in cases:
        findings += [case.finding(r.check, r.message) for r in case.image.remarks]
        findings += _range_findings(case, advice)
        findings += _stretch_findings(case)
    return findings + list(_mixed_depth(cases))


def _finding(record: dict[str, Any], split: str, check: str, message: str, **more: Any) -> Finding:
    kind = KINDS[check]
    return Finding(
        check,
        str(record["sample_id"]),
        message,
        split=split,
        source=record.get("source") or "",
        image=record.get("img_path") or "",
        severity=kind.severity,
        **dict(dict(advice=kind.advice), **more),
    )


def load_step(dataset: LandmarkDataset) -> LoadImage:
    """Return the step of a dataset's pipeline that loads images, or one with the defaults."""
    steps = dataset.pipeline.transforms
    return next((step for step in steps if isinstance(step, LoadImage)), LoadImage())


def _read(dataset: LandmarkDataset, index: int, split: str) -> _Case | Finding:
    record = dataset.get_data_info(index)
    steps = tuple(dataset.pipeline.transforms)
    load = load_step(dataset)
    try:
        if record.get("img_path") is None:
            image = from_array(np.asarray(record["img"]), fill_value=load.fill_value)
        else:
            image = read_image(record["img_path"], min_size=load.size, fill_value=load.fill_value)
    except (FileNotFoundError, ValueError, ImportError, KeyError) as error:
        bad = isinstance(error, NonFinitePixels) or isinstance(error.__cause__, NonFinitePixels)
        return _finding(record, split, "pixels not finite" if bad else "broken image", str(error))
    return _Case(dict(record, flip_pairs=dataset.schema.flip_pairs), image, load, steps, split)


# ---- range ------------------------------------------------------------------------------------------


def _used(case: _Case) -> tuple[float, float, float]:
    """Return smallest and largest value, and their distance as a fraction of black to white."""
    low, high = float(case.image.array.min()), float(case.image.array.max())
    black, white = case.load.range_of(case.image)
    return low, high, (high - low) / (white - black)


def _odd(case: _Case) -> bool:
    normalised = any(isinstance(step, NormalizeIntensity) for step in case.steps)
    return not normalised and not SMALL_RANGE < _used(case)[2] <= LARGE_RANGE


def _range_advice(cases: list[_Case]) -> str:
    """Return the advice on the option that sets the range of all images."""
    odd = [case for case in cases if _odd(case) and _used(case)[2] > 0]
    if not odd:
        return ""
    low, high = min(_used(c)[0] for c in odd), max(_used(c)[1] for c in odd)
    if low >= 0 and all(c.image.bits is not None for c in odd) and max(_used(c)[2] for c in odd) <= 1:
        bits = max(8, 2 * math.ceil(math.log2(high + 1) / 2))  # detectors have 10, 12 or 14 bits
        if all(bits < (c.image.bits or 0) for c in odd):
            return (
                f"set LoadImage(bits={bits}) if that is what the detector had, or LoadImage(value_range=...)"
            )
    return (
        f"set the values of black and white, e.g. LoadImage(value_range=({low:g}, {high:g})), or add a "
        "NormalizeIntensity"
    )


def _range_findings(case: _Case, advice: str) -> Iterator[Finding]:
    low, high, share = _used(case)
    black, white = case.load.range_of(case.image)
    if share == 0:
        yield case.finding("constant image", f"every pixel is {low:g}")
    elif _odd(case):
        ends = f"its values go from {low:g} to {high:g}, but black is {black:g} and white {white:g}"
        if share <= SMALL_RANGE:
            message = f"{ends}: 1/{math.floor(1 / share + 1e-6)} of the range is used"
            yield case.finding("small range", message, advice=advice)
        else:
            yield case.finding("large range", f"{ends}: {share:.3g} times the range", advice=advice)


# ---- proportions ------------------------------------------------------------------------------------


def _stretch_findings(case: _Case) -> Iterator[Finding]:
    """Compare the scales along the axes, in mm if the spacing is known."""
    image = case.load.resize(case.image, f"sample {case.record['sample_id']!r}")
    dims = len(image.ori_shape)
    results = dict(
        case.record,
        input_from_original=image.img_from_original,
        input_shape=image.array.shape[:dims],
        rng=np.random.default_rng(0),
    )
    for step in case.steps:
        if isinstance(step, _SIZING):
            results = step(results)
    spacing = case.record.get("spacing")
    if spacing is None:
        spacing = image.spacing
    if spacing is None and dims == 3:
        return  # the proportions of the voxels are not known
    per_mm = results["input_from_original"][:dims, :dims] / (1.0 if spacing is None else np.asarray(spacing))
    scales = np.linalg.svd(per_mm, compute_uv=False)
    if scales[0] > STRETCH * scales[-1]:
        old, new = (" x ".join(str(n) for n in s[::-1]) for s in (image.ori_shape, results["input_shape"]))
        message = f"{old} pixels become {new}: one side is stretched {scales[0] / scales[-1]:.2f} times"
        yield case.finding("stretched image", message)


# ---- all of them ------------------------------------------------------------------------------------


def _mixed_depth(cases: list[_Case]) -> Iterator[Finding]:
    depths = Counter(_depth(case) for case in cases)
    if len(depths) < 2:
        return
    words = [
        f"{'floating point' if bits is None else f'{bits} bits'} in {count} of {len(cases)} images read"
        for bits, count in depths.most_common()
    ]
    rarest = depths.most_common()[-1][0]
    odd = next(case for case in cases if _depth(case) == rarest)
    yield odd.finding("mixed bit depth", ", ".join(words))


def _depth(case: _Case) -> int | None:
    """Return the bits of an image, as the pipeline interprets them."""
    bits, given = case.image.bits, case.load.bits
    return bits if bits is None or given is None else min(bits, given)
