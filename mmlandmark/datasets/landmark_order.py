"""Landmarks are matched by name wherever both sides have names, never by position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmlandmark.datasets.values import entries_of
from mmlandmark.utils.near_names import did_you_mean


def landmark_order(found: Sequence[str], wanted: Sequence[str], where: str) -> list[int]:
    """Return the index in ``found`` of every wanted landmark, -1 where a file has nothing of that name.

    Args:
        found: Names in the order of a file.
        wanted: Names in the order that is asked for.
        where: File and line, for the message.

    Raises:
        ValueError: The file has landmarks that are not asked for; names that are near are proposed.
    """
    unknown = [name for name in found if name not in wanted]
    if unknown:
        shown = ", ".join(map(repr, unknown[:5])) + (", ..." if len(unknown) > 5 else "")
        raise ValueError(
            f"{where}: landmarks [{shown}] are not in the schema{did_you_mean(unknown[:5], wanted)}; "
            f"it has {list(wanted)}"
        )
    places = {name: index for index, name in enumerate(found)}
    return [places.get(name, -1) for name in wanted]


def reorder(record: dict[str, Any], order: Sequence[int], count: int) -> dict[str, Any]:
    """Return a record with everything that belongs to landmarks in another order; -1 is a missing one.

    Args:
        record: ``landmarks`` (K, D) or None, and optionally ``by_annotator`` (R, K, D), ``visibility`` and
            ``weights`` (K,), in the order of a file.
        order: See :func:`landmark_order`.
        count: K, the number of landmarks that the file names.

    Raises:
        ValueError: A field has not one entry per landmark; the record is named.
    """
    changed = dict(record)
    for key, fill in (("landmarks", np.nan), ("by_annotator", np.nan), ("visibility", 0), ("weights", 1)):
        if record.get(key) is None:
            continue
        given = record[key]
        values = list(np.swapaxes(given, 0, 1)) if key == "by_annotator" else entries_of(given)
        if len(values) != count:
            raise ValueError(
                f"{record.get('source')}: {key} has {len(values)} entries, but the file names {count} "
                "landmarks"
            )
        missing = np.full(np.shape(values[0]), fill) if key in ("landmarks", "by_annotator") else fill
        moved = [values[i] if i >= 0 else missing for i in order]
        if key == "by_annotator":
            changed[key] = np.stack(moved, axis=1)
        else:
            changed[key] = np.stack(moved) if key == "landmarks" else moved
    return changed


def in_order(
    records: list[dict[str, Any]], own: Sequence[str], wanted: Sequence[str], where: str
) -> list[dict[str, Any]]:
    """Return records that follow names of their own in the order of other names.

    Raises:
        ValueError: The own names are not all wanted, or a record does not fit them.
    """
    if tuple(own) == tuple(wanted):
        return records
    order = landmark_order(own, wanted, where)
    return [reorder(record, order, len(own)) for record in records]
