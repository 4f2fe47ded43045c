"""Comparing the landmarks of data sets, checkpoints and teachers by their names."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

from mmlandmark.structures.landmark_schema import LandmarkSchema

_NUMBERED = re.compile(r"landmark_\d+")


def names_of(metainfo: Mapping[str, Any] | None) -> list[str] | None:
    """Return the landmark names of a data set or a checkpoint; None if it has none.

    Args:
        metainfo: Metainfo of a data set, or ``meta.dataset_meta`` of a checkpoint. Anything but a list of
            names under ``landmark_names`` counts as no names.
    """
    names = metainfo.get("landmark_names") if isinstance(metainfo, Mapping) else None
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return None
    return list(names)


def only_numbered(names: Sequence[str]) -> bool:
    """Return whether these are placeholder names: ``landmark_1``, ``landmark_2``, ..."""
    return all(_NUMBERED.fullmatch(name) for name in names)


def name_difference(there: Sequence[str] | None, here: Sequence[str] | None) -> str | None:
    """Describe how two sets of landmarks differ; None if they are the same landmarks in the same order.

    Names are compared one by one. If one side has no names, or placeholder names where the other has real
    ones, only the number of landmarks is compared.

    Args:
        there: Names of one side; None if it has none.
        here: Names of the other side.

    Returns:
        The difference; the text calls the sides "there" and "here".

    Example:
        >>> name_difference(["a", "b", "c"], ["c", "b", "a"])
        "the same landmarks in another order: landmark 0 is 'a' there and 'c' here"
        >>> name_difference(["landmark_1", "landmark_2"], ["a", "b"]) is None
        True
    """
    if there is None or here is None:
        return None
    there, here = list(there), list(here)
    if there == here:
        return None
    if len(there) == len(here) and only_numbered(there) != only_numbered(here):
        return None
    if len(there) == len(here):
        first = next(i for i, (a, b) in enumerate(zip(there, here, strict=True)) if a != b)
        order = "the same landmarks in another order: " if sorted(there) == sorted(here) else ""
        return f"{order}landmark {first} is {there[first]!r} there and {here[first]!r} here"
    lost, new = [n for n in there if n not in here], [n for n in here if n not in there]
    parts = [f"{_some(lost)} only there"] * bool(lost) + [f"{_some(new)} only here"] * bool(new)
    return f"{len(there)} landmarks there, {len(here)} here: " + ", ".join(parts)


def names_cure(there: Sequence[str] | None, here: Sequence[str] | None, where: str) -> str:
    """Return the sentence that tells the user how to resolve a :func:`name_difference`.

    Args:
        there: Names of the side that stays.
        here: Names of the side to change.
        where: Name of the side to change, such as ``val_dataloader``.

    Example:
        >>> names_cure(["a", "b"], ["b", "a"], "test_dataloader")
        "Give the data set of test_dataloader landmarks=['a', 'b']"
    """
    if there is not None and here is not None and set(there) <= set(here):
        return f"Give the data set of {where} landmarks={list(there)}"
    return "Use data sets with the same landmarks, or rename landmarks that differ in name only"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:3]))
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def metainfo_of(schema: LandmarkSchema) -> dict[str, Any]:
    """Return what models, metrics and visualizers need to know about landmarks, as plain types."""
    return dict(
        schema=schema.name,
        num_landmarks=len(schema),
        landmark_names=list(schema.landmarks),
        dims=schema.dims,
        flip_pairs=[list(pair) for pair in schema.flip_pairs],
        links=[list(pair) for pair in schema.links],
        reference_length=copy.deepcopy(schema.reference_length),
        derived_points=copy.deepcopy(list(schema.derived_points)),
        measures=copy.deepcopy(list(schema.measures)),
    )


def schema_of(metainfo: Mapping[str, Any] | None) -> LandmarkSchema | None:
    """Return the schema of which :func:`metainfo_of` made this; None if there are no names.

    Args:
        metainfo: Metainfo of a data set, or ``meta.dataset_meta`` of a checkpoint.

    Raises:
        ValueError: What it says about its landmarks is not valid.
    """
    names = names_of(metainfo)
    if names is None or metainfo is None:
        return None
    known = {key: metainfo[key] for key in LandmarkSchema.__dataclass_fields__ if key in metainfo}
    name = metainfo.get("schema") or f"numbered{len(names)}"
    return LandmarkSchema.from_dict({**known, "name": name, "landmarks": names}, "dataset_meta")
