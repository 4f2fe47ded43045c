"""A calibration as plain values: part of a model file, which may come from anybody."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from mmlandmark.evaluation.conformal import KINDS, check_level
from mmlandmark.evaluation.doubt import Doubt
from mmlandmark.evaluation.plain_values import checked_keys, need, numbers

FORMAT = 1
_KEYS = (
    "format", "landmarks", "dims", "unit", "levels", "radius_kind", "region_kind", "scores", "temperature",
    "doubt", "about",
)  # fmt: skip
_MOST_SCORES, _MOST_TEXT, _LONGEST_HASH = 5_000_000, 100_000, 64


def calibration_to_dict(calibration: Any) -> dict[str, Any]:
    """Return a :class:`~mmlandmark.evaluation.Calibration` as plain values; scores keep five digits."""
    temperature, doubt = calibration.temperature, calibration.doubt
    return dict(
        format=FORMAT,
        landmarks=list(calibration.landmarks),
        dims=calibration.dims,
        unit=calibration.unit,
        levels=list(calibration.levels),
        radius_kind=calibration.radius_kind,
        region_kind=calibration.region_kind,
        scores={kind: [short(column) for column in columns] for kind, columns in calibration.scores.items()},
        temperature=None if temperature is None else short(temperature),
        doubt=None if doubt is None else doubt.to_dict(),
        about=calibration.about,
    )


def calibration_from_dict(data: Any) -> dict[str, Any]:
    """Return the checked arguments of a :class:`~mmlandmark.evaluation.Calibration`.

    Raises:
        ValueError: Something is missing, has another size, or is no number that belongs there.
    """
    data = checked_keys(data, _KEYS, "calibration")
    need(data["format"] == FORMAT, f"format {data['format']!r:.40} is not {FORMAT}: update mmlandmark")
    names = data["landmarks"]
    need(isinstance(names, list) and names and all(isinstance(n, str) for n in names), "landmarks: names")
    need(
        data["dims"] in (2, 3) and data["unit"] in ("mm", "pixels"), "dims must be 2 or 3, unit mm or pixels"
    )
    levels = numbers(data["levels"], "levels", positive=True)
    need(len(levels) > 0, "levels: at least one")
    for level in levels:
        check_level(level)
    need(data["radius_kind"] in KINDS[:2], "radius_kind must be absolute or scaled")
    need(data["region_kind"] in KINDS, f"region_kind must be one of {', '.join(KINDS)}")
    kinds = {data["radius_kind"], data["region_kind"]}
    scores = checked_keys(data["scores"], sorted(kinds), "calibration: scores")
    parsed = {}
    for kind, columns in scores.items():
        need(isinstance(columns, list) and len(columns) == len(names), f"scores: {kind}: one list a landmark")
        need(all(isinstance(c, list) for c in columns), f"scores: {kind}: one list a landmark")
        need(sum(map(len, columns)) <= _MOST_SCORES, f"scores: {kind}: more than {_MOST_SCORES} numbers")
        parsed[kind] = tuple(np.sort(numbers(column, f"scores: {kind}")) for column in columns)
        need(all((column >= 0).all() for column in parsed[kind]), f"scores: {kind}: some are negative")
    temperature = data["temperature"]
    if temperature is not None:
        temperature = numbers(temperature, "temperature", len(names), positive=True, missing=True)
    need(temperature is not None or kinds == {"absolute"}, "only absolute radii do without a temperature")
    _check_about(data["about"])
    return dict(
        landmarks=tuple(names),
        dims=data["dims"],
        unit=data["unit"],
        levels=tuple(levels.tolist()),
        radius_kind=data["radius_kind"],
        region_kind=data["region_kind"],
        scores=parsed,
        temperature=temperature,
        doubt=None if data["doubt"] is None else Doubt.from_dict(data["doubt"], len(names)),
        about=data["about"],
    )


def _check_about(about: Any) -> None:
    """Check what a calibration says of itself; the hashes of its images are as many as these."""
    need(isinstance(about, dict), "about: it must have named keys")
    hashes = about.get("samples") or []
    need(isinstance(hashes, list) and len(hashes) <= _MOST_SCORES, "about: samples must be a list of hashes")
    need(all(isinstance(h, str) and len(h) <= _LONGEST_HASH for h in hashes), "about: samples: hashes")
    rest = {key: value for key, value in about.items() if key != "samples"}
    need(len(json.dumps(rest)) <= _MOST_TEXT, "about: too long")


def short(values: np.ndarray) -> list[float | None]:
    """Return numbers with five digits; None for NaN."""
    return [float(f"{value:.5g}") if math.isfinite(value) else None for value in np.asarray(values).tolist()]
