"""Splitting cases into folds and parts, by patient, and reading published folds."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.datasets.id_lists import read_ids
from mmlandmark.datasets.records import describe


def deal_folds(records: Sequence[dict[str, Any]], num_folds: int, seed: int = 0) -> None:
    """Set ``fold`` of every record, 0 to ``num_folds`` - 1, keeping every group in one fold.

    The folds depend only on ids, groups and the seed, and have nearly equal sizes.

    Raises:
        ValueError: There are fewer groups than folds.
    """
    groups = _grouped(records)
    if not 2 <= num_folds <= len(groups):
        raise ValueError(
            f"num_folds must be between 2 and the number of groups, {len(groups)}, got {num_folds}"
        )
    sizes = [0] * num_folds
    for name in _shuffled(groups, seed):
        fold = sizes.index(min(sizes))
        sizes[fold] += len(groups[name])
        for record in groups[name]:
            record["fold"] = fold


def deal_parts(
    records: Sequence[dict[str, Any]], shares: Mapping[str, float], seed: int = 0
) -> dict[str, list[str]]:
    """Return the sample ids of parts in given proportions, keeping every group in one part.

    The parts depend only on ids, groups and the seed. If every group has one record, the sizes are the
    shares, rounded by largest remainders.

    Args:
        records: With ``sample_id`` and ``group``.
        shares: Name of the part -> share, in any unit.
        seed: Seed of the shuffle.

    Raises:
        ValueError: A share is not positive, or a part would be empty.
    """
    numbers = all(isinstance(share, int | float) and share > 0 for share in shares.values())
    if not shares or not numbers:
        raise ValueError(f"every part needs a positive share, got {dict(shares)}")
    groups, total = _grouped(records), sum(shares.values())
    exact = {name: len(records) * share / total for name, share in shares.items()}
    wanted = {name: int(size) for name, size in exact.items()}
    by_remainder = sorted(exact, key=lambda name: wanted[name] - exact[name])
    for name in by_remainder[: len(records) - sum(wanted.values())]:
        wanted[name] += 1
    parts: dict[str, list[str]] = {name: [] for name in shares}
    for group in _shuffled(groups, seed):
        part = max(parts, key=lambda name: wanted[name] - len(parts[name]))
        parts[part] += [str(record["sample_id"]) for record in groups[group]]
    empty = [name for name, ids in parts.items() if not ids]
    if empty:
        raise ValueError(f"{len(groups)} groups are too few for parts of {dict(shares)}: {empty} are empty")
    return {name: sorted(ids) for name, ids in parts.items()}


def _grouped(records: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        group = record.get("group")
        groups.setdefault(str(record["sample_id"] if group is None else group), []).append(record)
    return groups


def _shuffled(groups: Mapping[str, list], seed: int) -> list[str]:
    """Return the names of groups, large ones first, shuffled among those of one size."""
    names = sorted(groups)
    np.random.default_rng(seed).shuffle(names)
    names.sort(key=lambda name: -len(groups[name]))
    return names


def group_finder(pattern: str) -> Callable[[str], str | None]:
    """Return what finds the group in a sample id: what a regular expression, or its first group, matches.

    Raises:
        ValueError: The pattern is not a regular expression.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"group_pattern {pattern!r} is not a regular expression: {error}") from error

    def group_of(sample_id: str) -> str | None:
        match = expression.match(sample_id)
        return match and match[1 if expression.groups else 0]

    return group_of


def name_groups(records: Sequence[dict[str, Any]], pattern: str) -> None:
    """Set ``group`` of records without one to what a regular expression matches at the start of their id.

    Raises:
        ValueError: The pattern is not a regular expression, or does not match an id.
    """
    group_of = group_finder(pattern)
    for record in records:
        if record.get("group") is None:
            name = group_of(str(record["sample_id"]))
            if not name:
                raise ValueError(
                    f"{describe(record)}: group_pattern {pattern!r} matches no patient in its id"
                )
            record["group"] = name


def published_folds(folder: Path) -> list[str]:
    """Return the names of the folds in a folder: what follows ``set`` in the names of its folders.

    Raises:
        FileNotFoundError: There are none.
    """
    names = [p.name.removeprefix("set") for p in folder.glob("set*") if p.is_dir()]
    if not names:
        raise FileNotFoundError(f"no folders set1, set2, ... of folds in {str(folder)!r}")
    return sorted(names, key=lambda name: (len(name), name))


def fold_lists(folder: Path, fold: str) -> dict[str, str]:
    """Return {id: fold} of one published fold: its own name for tested ids, another for training ids.

    Raises:
        FileNotFoundError: A list does not exist.
        ValueError: An id is in both lists.
    """
    folder = folder / f"set{fold}"
    tested = folder / "test.txt"
    if not tested.is_file() and (folder / "val.txt").is_file():
        tested = folder / "val.txt"
    train, _ = read_ids(folder / "train.txt")
    test, _ = read_ids(tested)
    both = sorted(set(train) & set(test))
    if both:
        raise ValueError(f"{folder}: ids in both train.txt and {tested.name}: {both[:5]}")
    return {**{i: f"not {fold}" for i in train}, **{i: fold for i in test}}
