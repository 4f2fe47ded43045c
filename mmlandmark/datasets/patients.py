"""Columns and keys of annotation files that name the patient of an image in other words than ``group``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from mmlandmark.datasets.records import describe
from mmlandmark.datasets.values import label_of
from mmlandmark.utils.near_names import plain

# Ids before names, which several persons may share.
PATIENT_KEYS = (
    *("patient_id", "subject_id", "participant_id"),
    *("patient", "subject", "participant"),
)


def is_patient(key: str) -> bool:
    """Return whether a column or key names the patient, in any case, with any separator or none.

    Example:
        >>> is_patient("Patient ID"), is_patient("PatientID"), is_patient("patient age")
        (True, True, False)
    """
    return _bare(key) in map(_bare, PATIENT_KEYS)


def patient_key(keys: Iterable[str]) -> str | None:
    """Return the key that names the patient, None if there is none; an id counts more than a name."""
    order = [_bare(key) for key in PATIENT_KEYS]
    return min(
        (key for key in keys if is_patient(key)), key=lambda key: order.index(_bare(key)), default=None
    )


def set_groups(records: Sequence[dict[str, Any]]) -> None:
    """Set ``group`` to the patient, if no record has a group; the key of the patient is kept, too.

    Args:
        records: As a reader made them, with ``sample_id`` and, if the file has them, ``group`` and keys of
            its own.

    Raises:
        ValueError: A patient is neither text nor a number, or the file has groups that part a patient.
    """
    found = {n: key for n, one in enumerate(records) if (key := patient_key(one)) and one[key] is not None}
    grouped = any(record.get("group") is not None for record in records)
    first: dict[str, dict[str, Any]] = {}
    for n, key in found.items():
        record = records[n]
        patient = label_of(record[key], describe(record), key)
        if not grouped:
            record["group"] = patient
        other = first.setdefault(patient, record)
        if other is not record and (record.get("group") is None or record["group"] != other.get("group")):
            raise ValueError(
                f"{describe(record)}: its {key} is {patient!r}, as that of {describe(other)}, but they are "
                "not in one 'group', which splits and folds keep together: give both one group, or rename "
                f"{key!r} or 'group'"
            )


def _bare(key: str) -> str:
    return plain(key).replace("_", "")
