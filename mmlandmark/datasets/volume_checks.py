"""Checks of volumes: their directions and spacing, and where the patient's left, front and head are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import permutations

import numpy as np

from mmlandmark.datasets.check_cases import Cases, Finding
from mmlandmark.datasets.check_kinds import Severity
from mmlandmark.structures import canonical_matrix, orientation_code, spacing_of

_ORIGIN = 1e-3  # mm: a point that near to the origin of the world was not marked there
_DIFFERENT = 0.01  # of a spacing: more than the rounding of its decimals
_PAIRS = 3  # of points that are all the wrong way round: one alone may be a slip
_APART = 0.05  # of the size of a shape: closer landmarks may naturally be the other way round
# Words of landmarks that lie one way and the other along an axis of the patient (LPS).
_WORDS = (
    (("right", "left"), ("r", "l")),
    (("anterior", "posterior"), ("front", "back"), ("ventral", "dorsal")),
    (("inferior", "superior"), ("lower", "upper"), ("bottom", "top"), ("caudal", "cranial")),
)
_WRONG = ("left and right", "front and back", "head and feet")


def mixed_orientations(cases: Cases) -> Iterator[Finding]:
    """Volumes whose axes are stored in another order or direction than those of most others."""
    codes = [None if world is None else orientation_code(world) for world in cases.frames]
    known = Counter(code for code in codes if code is not None)
    if not known:
        return
    (usual, count), *_ = known.most_common(1)
    for n, code in enumerate(codes):
        if code == usual or (code is None and np.isnan(cases.sizes[n]).any()):
            continue
        others = f"{count} of {len(cases)} volumes are {usual}"
        if code is None:
            message = f"it does not state its directions, so its axes stay as stored; {others}"
            yield cases.finding(n, "mixed orientation", message, severity="warning", score=1.0)
        else:
            yield cases.finding(n, "mixed orientation", f"stored as {code}; {others}")


def unstated_orientations(cases: Cases) -> Iterator[Finding]:
    """Volumes whose file states no orientation, so that one is taken for granted."""
    assumed = [cases.assumed(n) for n in range(len(cases))]
    stated = sum(not text and world is not None for text, world in zip(assumed, cases.frames, strict=True))
    severity: Severity = "warning" if stated else "note"  # all of one kind may well be right
    for n, text in enumerate(assumed):
        if text:
            yield cases.finding(n, "no directions", f"it {text}", severity=severity)


def contradicted_spacing(cases: Cases) -> Iterator[Finding]:
    """Volumes whose annotation states another spacing than their file."""
    for n, world in enumerate(cases.frames):
        if world is None or np.isnan(cases.spacing[n]).any():
            continue
        stated, given = cases.spacing[n], np.array(spacing_of(world))
        ratio = float(np.maximum(stated / given, given / stated).max())
        if ratio > 1 + _DIFFERENT:
            message = f"the annotation states a spacing of {_mm(stated)}, its file one of {_mm(given)}"
            yield cases.finding(n, "spacing", message, score=ratio)


def stored_spacing(cases: Cases) -> np.ndarray:
    """Return the (N, 3) mm per voxel along the axes as stored, of the annotation or the file, else NaN."""
    spacing = cases.spacing.copy()
    for n, world in enumerate(cases.frames):
        if world is not None and not np.isfinite(spacing[n]).all():
            spacing[n] = spacing_of(world)
    return spacing


def upright_spacing(cases: Cases) -> np.ndarray:
    """Return the (N, 3) mm per voxel along the patient's axes, NaN if unknown."""
    spacing = stored_spacing(cases)
    for n, world in enumerate(cases.frames):
        if world is not None:
            spacing[n] = np.abs(canonical_matrix(world, (1, 1, 1))[:3, :3]) @ spacing[n]
    return spacing


def world_origins(cases: Cases) -> Iterator[Finding]:
    """Points at the origin of the patient's millimetres, which tools write for points that are not placed."""
    at_origin = (np.abs(cases.comparable()) < _ORIGIN).all(axis=2)
    at_origin[[n for n, world in enumerate(cases.frames) if world is None]] = False
    for n, k in np.argwhere(at_origin).tolist():
        message = (
            f"{cases.at(n, k)} is the origin of the world, (0, 0, 0) mm: it seems to be a placeholder for a "
        )
        yield cases.finding(n, "placeholder", message + "missing landmark", landmarks=(k,))
    cases.clean[at_origin] = np.nan


def wrong_sides(cases: Cases, min_records: int) -> Iterator[Finding]:
    """Splits whose landmarks lie on the other side of the patient than their names say.

    Args:
        cases: The records.
        min_records: From so many on, most pairs of names count; with fewer, all of at least three pairs of
            points have to be the wrong way round.
    """
    pairs = [_pairs(cases.schema.landmarks, words) for words in _WORDS]
    points = cases.comparable()
    known = np.array([world is not None for world in cases.frames])
    for split in dict.fromkeys(cases.splits):
        rows = known & np.array([s == split for s in cases.splits]) & np.isfinite(points).any(axis=(1, 2))
        if not rows.any():
            continue
        few = rows.sum() < min_records
        wrong = [_reversed(points[rows], axis, pairs[axis], few) for axis in range(3)]
        found = [axis for axis in range(3) if wrong[axis] is not None]
        if not found:
            continue
        axis, (low, high) = found[0], wrong[found[0]] or (0, 0)
        names = cases.schema.landmarks
        what = " and ".join(_WRONG[i] for i in found)
        example = f"{names[high]!r} lies {('right of', 'in front of', 'below')[axis]} {names[low]!r}"
        where = "in most of" if not few else "in all of" if rows.sum() > 1 else "in"
        volumes = "volumes" if rows.sum() > 1 else "volume"
        message = f"{example} {where} {rows.sum()} {volumes}: {what} seem to be exchanged"
        if found == [0, 1]:
            message += "; x and y have the wrong sign, as when points in RAS count as LPS"
        yield cases.whole(split, "sides of the patient", message)


def _pairs(names: tuple[str, ...], words: tuple[tuple[str, str], ...]) -> list[tuple[int, int]]:
    """Return the landmarks whose names differ in one of these pairs of words only."""
    split = [re.split(r"[\s_.,-]+|(?<=[a-z])(?=[A-Z])", name) for name in names]
    lower = [[word.lower() for word in name] for name in split]
    found = []
    for a, b in permutations(range(len(names)), 2):
        differing = [pair for pair in zip(lower[a], lower[b], strict=False) if pair[0] != pair[1]]
        if len(lower[a]) == len(lower[b]) and len(differing) == 1 and differing[0] in words:
            found.append((a, b))
    return found


def _reversed(
    points: np.ndarray, axis: int, pairs: list[tuple[int, int]], few: bool
) -> tuple[int, int] | None:
    """Return a pair that is the wrong way round along an axis, if most are; of few points, if all are."""
    extent = np.nanmedian(np.nanmax(points, axis=1) - np.nanmin(points, axis=1), axis=0).max()
    steps, ways = {}, []
    for low, high in pairs:
        step = points[:, high, axis] - points[:, low, axis]
        step = step[np.isfinite(step)]
        if len(step) and abs(np.median(step)) > _APART * extent:
            steps[low, high] = float(np.median(step))
            ways += (step < 0).tolist()
    if few and (len(ways) < _PAIRS or not all(ways)):
        return None
    wrong = [pair for pair, step in steps.items() if step < 0]
    return min(wrong, key=lambda pair: steps[pair]) if 2 * len(wrong) > len(steps) else None


def _mm(spacing: np.ndarray) -> str:
    return f"({', '.join(f'{step:.4g}' for step in spacing)}) mm"
