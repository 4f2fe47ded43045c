"""What a model said about a sample beyond its landmarks: ``predicted`` in the project's JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmlandmark.utils.near_names import did_you_mean

PER_LANDMARK = ("scores", "presence", "deviation", "spread", "reasons", "world")
BY_LEVEL = ("radii", "regions")  # of each level, such as "0.9", one entry per landmark
OTHERS = ("radius_unit", "measures", "world_from_original")
_KEYS = (*PER_LANDMARK, *BY_LEVEL, *OTHERS)


def checked_predicted(value: Any, count: int | None, where: str) -> dict[str, Any]:
    """Return ``predicted`` of a sample as it is.

    Args:
        value: The object under the key.
        count: Number of landmarks that the file names; None if it names none.
        where: File and sample, for messages.

    Raises:
        ValueError: It is not an object, has an unknown key, or lacks an entry for some landmark.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{where}: 'predicted' must be an object, got {value!r:.80}")
    unknown = [key for key in value if key not in _KEYS]
    if unknown:
        raise ValueError(
            f"{where}: 'predicted' has unknown keys {unknown}{did_you_mean(unknown, _KEYS)}; known are "
            f"{list(_KEYS)}"
        )
    lists = {key: value[key] for key in PER_LANDMARK if key in value}
    for key in BY_LEVEL:
        levels = value.get(key, {})
        if not isinstance(levels, dict):
            raise ValueError(f"{where}: 'predicted', {key}: expected an object of levels, got {levels!r:.80}")
        lists |= {f"{key}, {level}": entries for level, entries in levels.items()}
    for key, entries in lists.items():
        if not isinstance(entries, list) or (count is not None and len(entries) != count):
            raise ValueError(
                f"{where}: 'predicted', {key}: expected a list with an entry for each landmark, got "
                f"{entries!r:.80}"
            )
    if not all(isinstance(reason, str) for reason in value.get("reasons", ())):
        raise ValueError(f"{where}: 'predicted', reasons: expected texts, got {value['reasons']!r:.80}")
    return value


def chosen_predicted(value: dict[str, Any], order: Sequence[int]) -> dict[str, Any]:
    """Return ``predicted`` of the landmarks at these places; -1 stands for a landmark that is not there."""

    def moved(key: str, entries: list) -> list:
        nothing = "" if key == "reasons" else None
        return [entries[i] if i >= 0 else nothing for i in order]

    changed = {key: moved(key, entries) if key in PER_LANDMARK else entries for key, entries in value.items()}
    for key in BY_LEVEL:
        if key in value:
            changed[key] = {level: moved(key, entries) for level, entries in value[key].items()}
    return changed
