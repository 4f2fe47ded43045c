"""Checks of the pixels of a few images: range, orientation, proportions, bit depth."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mmlandmark.datasets.check_cases import Finding
from mmlandmark.datasets.check_kinds import KINDS
from mmlandmark.datasets.image_io import LoadedImage, NonFinitePixels, image_of_record
from mmlandmark.datasets.landmark_dataset import LandmarkDataset
from mmlandmark.datasets.transforms import (
    CenterCrop,
    CropAroundLandmarks,
    LoadImage,
    NormalizeIntensity,
    Pad,
    RandomCrop,
    ResampleSpacing,
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
class Look:
    """What one image looks like to the pipeline of its dataset, without its pixels.

    Attributes:
        record: The sample.
        split: Name of its split.
        ends: Smallest and largest value.
        span: (black, white) of the pipeline.
        bits: Bits of the image; None for floats.
        depth: The same, as the pipeline interprets them.
        normalised: Whether the pipeline sets the range of values itself.
        findings: About this image alone.
    """

    record: dict[str, Any]
    split: str
    ends: tuple[float, float]
    span: tuple[float, float]
    bits: int | None
    depth: int | None
    normalised: bool
    findings: tuple[Finding, ...]

    def finding(self, check: str, message: str, **more: Any) -> Finding:
        """Return a finding about this image."""
        return _finding(self.record, self.split, check, message, **more)

    @property
    def share(self) -> float:
        """Distance of smallest and largest value as a fraction of black to white."""
        return (self.ends[1] - self.ends[0]) / (self.span[1] - self.span[0])

    @property
    def odd(self) -> bool:
        """Whether the values use a small part of the range, or are far outside of it."""
        return not self.normalised and not SMALL_RANGE < self.share <= LARGE_RANGE


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
    findings: list[Finding] = []
    looks: list[Look] = []
    seen = 0
    for leaf, index in (places[i] for i in chosen_rows(len(places), max_images)):
        record = leaf.get_data_info(index)
        image = _read(leaf, record, split)
        if isinstance(image, Finding):
            # A training leaves it out if nobody has annotated it, or if it may.
            free = getattr(leaf, "skips_unreadable", False)
            findings.append(replace(image, severity="warning") if free else image)
            continue
        looks.append(look_at(leaf, record, image, split))
        seen += image.array.size
        if seen > MAX_PIXELS:
            break
    return findings + judged(looks)


def chosen_rows(count: int, most: int = 8) -> list[int]:
    """Return up to ``most`` of ``count`` rows, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int)).tolist()


def judged(looks: list[Look]) -> list[Finding]:
    """Return the findings about images, then those about all of them."""
    findings: list[Finding] = []
    advice = _range_advice(looks)
    for look in looks:
        findings += [*look.findings, *_range_findings(look, advice)]
    return findings + list(_mixed_depth(looks))


def look_at(dataset: LandmarkDataset, record: dict[str, Any], image: LoadedImage, split: str) -> Look:
    """Return what an image looks like to the pipeline of its dataset."""
    load, steps = load_step(dataset), tuple(dataset.pipeline.transforms)
    bits = image.bits
    own = [_finding(record, split, remark.check, remark.message) for remark in image.remarks]
    own += _stretch_findings(record, image, load, steps, dataset.schema.flip_pairs, split)
    return Look(
        record,
        split,
        (float(image.array.min()), float(image.array.max())),
        load.range_of(image),
        bits,
        bits if bits is None or load.bits is None else min(bits, load.bits),
        any(isinstance(step, NormalizeIntensity) for step in steps),
        tuple(own),
    )


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


def _read(dataset: LandmarkDataset, record: dict[str, Any], split: str) -> LoadedImage | Finding:
    load = load_step(dataset)
    try:
        image = image_of_record(record, load.size, load.fill_value)
        if image is None:
            raise ValueError("the record has no image")
        return image
    except (OSError, ValueError, ImportError) as error:
        return unreadable(record, split, error)


def unreadable(record: dict[str, Any], split: str, error: Exception) -> Finding:
    """Return the finding about an image that cannot be read."""
    bad = isinstance(error, NonFinitePixels) or isinstance(error.__cause__, NonFinitePixels)
    return _finding(record, split, "pixels not finite" if bad else "broken image", str(error))


# ---- range ------------------------------------------------------------------------------------------


def _range_advice(looks: list[Look]) -> str:
    """Return the advice on the option that sets the range of all images."""
    odd = [look for look in looks if look.odd and look.share > 0]
    if not odd:
        return ""
    low, high = min(look.ends[0] for look in odd), max(look.ends[1] for look in odd)
    if low >= 0 and all(look.bits is not None for look in odd) and max(look.share for look in odd) <= 1:
        bits = max(8, 2 * math.ceil(math.log2(high + 1) / 2))  # detectors have 10, 12 or 14 bits
        if all(bits < (look.bits or 0) for look in odd):
            return (
                f"set LoadImage(bits={bits}) if that is what the detector had, or LoadImage(value_range=...)"
            )
    return (
        f"set the values of black and white, e.g. LoadImage(value_range=({low:g}, {high:g})), or add a "
        "NormalizeIntensity"
    )


def _range_findings(look: Look, advice: str) -> Iterator[Finding]:
    (low, high), (black, white), share = look.ends, look.span, look.share
    if share == 0:
        yield look.finding("constant image", f"every pixel is {low:g}")
    elif look.odd:
        ends = f"its values go from {low:g} to {high:g}, but black is {black:g} and white {white:g}"
        if share <= SMALL_RANGE:
            message = f"{ends}: 1/{math.floor(1 / share + 1e-6)} of the range is used"
            yield look.finding("small range", message, advice=advice)
        else:
            yield look.finding("large range", f"{ends}: {share:.3g} times the range", advice=advice)


# ---- proportions ------------------------------------------------------------------------------------


def _stretch_findings(
    record: dict[str, Any],
    image: LoadedImage,
    load: LoadImage,
    steps: tuple[Any, ...],
    flip_pairs: Any,
    split: str,
) -> Iterator[Finding]:
    """Compare the scales along the axes, in mm if the spacing is known.

    A pipeline that names the spacing of its frame gives every image the same one.
    """
    if any(isinstance(step, ResampleSpacing) for step in steps):
        return
    image = load.resize(image, f"sample {record['sample_id']!r}")
    dims = len(image.ori_shape)
    results = dict(
        record,
        flip_pairs=flip_pairs,
        input_from_original=image.img_from_original,
        input_shape=image.array.shape[:dims],
        rng=np.random.default_rng(0),
    )
    for step in steps:
        if isinstance(step, _SIZING):
            results = step(results)
    spacing = record.get("spacing")
    if spacing is None:
        spacing = image.spacing
    if spacing is None and dims == 3:
        return  # the proportions of the voxels are not known
    per_mm = results["input_from_original"][:dims, :dims] / (1.0 if spacing is None else np.asarray(spacing))
    scales = np.linalg.svd(per_mm, compute_uv=False)
    # Voxels are often longer than wide: only a pipeline that makes it worse stretches them.
    own = 1.0 if dims == 2 or spacing is None else float(np.max(spacing) / np.min(spacing))
    if scales[0] > STRETCH * own * scales[-1]:
        old, new = (" x ".join(str(n) for n in s[::-1]) for s in (image.ori_shape, results["input_shape"]))
        grid = "pixels" if dims == 2 else "voxels"
        message = f"{old} {grid} become {new}: one side is stretched {scales[0] / scales[-1]:.2f} times"
        yield _finding(record, split, "stretched image", message)


# ---- all of them ------------------------------------------------------------------------------------


def _mixed_depth(looks: list[Look]) -> Iterator[Finding]:
    depths = Counter(look.depth for look in looks)
    if len(depths) < 2:
        return
    words = [
        f"{'floating point' if bits is None else f'{bits} bits'} in {count} of {len(looks)} images read"
        for bits, count in depths.most_common()
    ]
    rarest = depths.most_common()[-1][0]
    odd = next(look for look in looks if look.depth == rarest)
    yield odd.finding("mixed bit depth", ", ".join(words))
