"""Checks for duplicates: of samples, patients, landmarks and image files."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import numpy as np

from mmlandmark.datasets.check_cases import Cases, Finding, is_training, role
from mmlandmark.datasets.image_files import image_parts
from mmlandmark.datasets.shards.shard_index import STORED

_PIECE = 1 << 16  # bytes at the start, middle and end, in which most files differ


def duplicates(cases: Cases) -> Iterator[Finding]:
    """Records with identical landmarks, and records of one split with the same image."""
    by_points: dict[Hashable, list[int]] = defaultdict(list)
    # Of volumes, points may have been copied in voxels or in mm.
    for frame in [cases.clean] if cases.schema.dims == 2 else [cases.clean, cases.comparable()]:
        for n, points in enumerate(frame):
            if np.isfinite(points).all(axis=1).sum() > 1:
                by_points[np.round(points, 2).tobytes()].append(n)
    for members in by_points.values():
        for n in sorted(set(members))[1:]:
            message = f"the same as those of sample {_name(cases, members[0])}"
            yield cases.finding(n, "same landmarks", message)
    for members in same_files(cases).values():
        yield from double_images(cases, "same image", members)


def double_images(cases: Cases, check: str, members: list[int]) -> Iterator[Finding]:
    """Yield a finding for all but the first of each split; halves of one image in one group are allowed."""
    first: dict[str, int] = {}
    for n in members:
        record = cases.records[n]
        earlier = first.setdefault(role(cases.splits[n]), n)
        other = cases.records[earlier]
        halves = record["group"] is not None and record["group"] == other["group"]
        if earlier != n and not (halves and record["img_path"] == other["img_path"]):
            yield cases.finding(n, check, f"the same picture as sample {_name(cases, earlier)}")


def leaks(cases: Cases) -> Iterator[Finding]:
    """Samples, groups (patients) and image files that are in several splits."""
    samples: dict[Hashable, list[int]] = defaultdict(list)
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for n, record in enumerate(cases.records):
        samples[record["sample_id"]].append(n)
        if record["group"] is not None:
            groups[record["group"]].append(n)
    kinds: dict[str, Mapping[Hashable, list[int]]] = dict(
        sample=samples, group=groups, image=same_files(cases)
    )
    for kind, groups_of_kind in kinds.items():
        for key, members in groups_of_kind.items():
            what = "the same image" if kind == "image" else f"{kind} {key!r}"
            yield from leak_findings(cases, f"{kind} leak", what, members)


def leak_findings(cases: Cases, check: str, what: str, members: list[int]) -> Iterator[Finding]:
    """Yield a finding for every member if they are in several splits.

    It is an error if a training split or a split of unknown role is among them. An overlap of validation and
    test parts does not affect training and is a warning.
    """
    splits = sorted({role(cases.splits[n]) for n in members})
    if len(splits) < 2:
        return
    held_out = all(split.startswith(("val", "test")) for split in splits)
    harmless = held_out and not any(is_training(split) for split in splits)
    for n in members:
        others = [_name(cases, m) for m in members if role(cases.splits[m]) != role(cases.splits[n])]
        names = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
        message = f"{what} is in splits {splits} (see {names})"
        yield cases.finding(n, check, message, severity="warning" if harmless else "error")


def same_files(cases: Cases) -> dict[Hashable, list[int]]:
    """Return records whose images have files of the same bytes, by a key of the content."""
    if cases.same_files is None:
        cases.same_files = _same_files(cases)
    return cases.same_files


def _same_files(cases: Cases) -> dict[Hashable, list[int]]:
    by_path: dict[str, list[int]] = defaultdict(list)
    by_hash: dict[str, list[int]] = defaultdict(list)  # of images in shards, which their index states
    for n, record in enumerate(cases.records):
        if STORED in record:
            by_hash[record[STORED].sha256].append(n)
        if record["img_path"] is not None and "slice" not in record:
            by_path[os.path.realpath(record["img_path"])].append(n)
    parts = {path: image_parts(path) for path in by_path if os.path.exists(path)}
    groups: list[list[str]] = [list(parts)]
    # Every step opens only the files that the previous step could not distinguish.
    for key in (_sizes, _pieces, _content):
        finer: list[list[str]] = []
        for group in groups:
            if cases.out_of_time and key is not _sizes:
                cases.leave_out("whether image files are equal, for lack of time")
                return _several(by_hash, by_path)
            by_key: dict[Any, list[str]] = defaultdict(list)
            for path in group:
                by_key[key(parts[path])].append(path)
            finer += [paths for paths in by_key.values() if len(paths) > 1]
        groups = finer
    together = {path for group in groups for path in group}
    alone = {path: members for path, members in by_path.items() if path not in together}
    equal = _several(by_hash, alone)
    for group in groups:
        equal[tuple(group)] = sorted(n for path in group for n in by_path[path])
    return equal


def _several(*groups: Mapping[Any, list[int]]) -> dict[Hashable, list[int]]:
    return {key: rows for group in groups for key, rows in group.items() if len(rows) > 1}


def _sizes(files: list[str]) -> tuple[int, ...]:
    return tuple(os.path.getsize(file) for file in files)


def _pieces(files: list[str]) -> bytes:
    pieces = hashlib.blake2b(digest_size=16)
    for path in files if len(files) < 4 else (files[0], files[len(files) // 2], files[-1]):
        size = os.path.getsize(path)
        with open(path, "rb") as file:
            for start in (0, max(size // 2 - _PIECE // 2, 0), max(size - _PIECE, 0)):
                file.seek(start)
                pieces.update(file.read(_PIECE))
    return pieces.digest()


def _content(files: list[str]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for path in files:
        with open(path, "rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    return digest.digest()


def _name(cases: Cases, n: int) -> str:
    return f"{cases.records[n]['sample_id']!r} [{cases.splits[n]}]"
