"""Matching landmarks by name, never by position, where both sides have names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmlandmark.datasets.predicted import chosen_predicted
from mmlandmark.datasets.values import entries_of
from mmlandmark.utils.near_names import did_you_mean


def landmark_order(present: Sequence[str], wanted: Sequence[str], where: str) -> list[int]:
    """Return the index in ``present`` of every wanted landmark, -1 where the file does not have it.

    Args:
        present: Names in the order of the file.
        wanted: Names in the requested order.
        where: File and line, for the message.

    Raises:
        ValueError: The file has landmarks that are not wanted; the message proposes similar names.
    """
    unknown = [name for name in present if name not in wanted]
    if unknown:
        shown = ", ".join(map(repr, unknown[:5])) + (", ..." if len(unknown) > 5 else "")
        raise ValueError(
            f"{where}: landmarks [{shown}] are not in the schema{did_you_mean(unknown[:5], wanted)}; "
            f"it has {list(wanted)}"
        )
    places = {name: index for index, name in enumerate(present)}
    return [places.get(name, -1) for name in wanted]


def reorder(record: dict[str, Any], order: Sequence[int], count: int) -> dict[str, Any]:
    """Return a record with all fields per landmark in another order; -1 stands for a missing landmark.

    Args:
        record: ``landmarks`` (K, D) or None, and optionally ``by_annotator`` (R, K, D), ``visibility`` and
            ``weights`` (K,) and ``predicted``, in the order of a file.
        order: See :func:`landmark_order`.
        count: K, the number of landmarks that the file names.

    Raises:
        ValueError: A field does not have one entry per landmark; the message names the record.
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
    if "predicted" in record:
        changed["predicted"] = chosen_predicted(record["predicted"], order)
    return changed


def in_order(
    records: list[dict[str, Any]], own: Sequence[str], wanted: Sequence[str], where: str
) -> list[dict[str, Any]]:
    """Return records in the order of other names.

    Raises:
        ValueError: A name of its own is not wanted, or a record does not fit the names.
    """
    if tuple(own) == tuple(wanted):
        return records
    order = landmark_order(own, wanted, where)
    return [reorder(record, order, len(own)) for record in records]
