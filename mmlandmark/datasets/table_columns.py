"""Names of the columns of tables of landmarks, for readers and writers."""

from __future__ import annotations

import re

from mmlandmark.utils.near_names import plain

AXES = "xyz"
SIZES = ("width", "height", "depth")
SPACINGS = ("spacing", *(f"spacing_{axis}" for axis in AXES))
_POINT = re.compile(rf"(.+)_([{AXES}]) \[px\]", re.DOTALL)
_WORLD = re.compile(rf"(.+)_([{AXES}]) \[mm\]", re.DOTALL)
_VISIBILITY = re.compile(r"(.+) visibility", re.DOTALL)
_UNIT = re.compile(r"(.*?) *\[(px|mm|mm/px)\]", re.DOTALL)
# What a prediction says beyond the points: kept as further columns, and misspelt names of none.
_PREDICTED = re.compile(r"(.+) (score|presence|reason|radius [\d.]+ % \[(mm|px)\])|measure .+", re.DOTALL)


def point_title(landmark: str, axis: int) -> str:
    """Return the name of the column of a coordinate in pixels."""
    return f"{landmark}_{AXES[axis]} [px]"


def world_title(landmark: str, axis: int) -> str:
    """Return the name of the column of a coordinate in the world of the image, in mm."""
    return f"{landmark}_{AXES[axis]} [mm]"


def radius_title(landmark: str, level: float, unit: str) -> str:
    """Return the name of the column of an error radius."""
    return f"{landmark} radius {100 * level:g} % [{'px' if unit == 'pixels' else unit}]"


def point_column(name: str) -> tuple[str, int] | None:
    """Return (landmark, axis) of a column called like ``sella_x [px]``, ``sella_x``, ``x12`` or ``p12x``.

    A name with a unit is exact: blanks, dots and digits belong to the landmark.
    """
    match = _POINT.fullmatch(name)
    if match:
        return match[1], AXES.index(match[2])
    match = re.fullmatch(r"(.+?)[_ .-]+([xyz])", name, re.IGNORECASE)
    if match and plain(match[1]) != "spacing":
        return match[1], AXES.index(match[2].lower())
    match = re.fullmatch(r"([xyz])_?(\d+)", name, re.IGNORECASE | re.ASCII)
    if match:
        return str(int(match[2])), AXES.index(match[1].lower())
    match = re.fullmatch(r"p(\d+)([xyz])", name, re.IGNORECASE | re.ASCII)
    return (str(int(match[1])), AXES.index(match[2].lower())) if match else None


def world_column(name: str) -> tuple[str, int] | None:
    """Return (landmark, axis) of a column of coordinates in mm, called like ``sella_x [mm]``."""
    match = _WORLD.fullmatch(name)
    return (match[1], AXES.index(match[2])) if match else None


def has_unit(name: str) -> bool:
    """Return whether a column is a coordinate that states its unit, pixels or mm."""
    return _POINT.fullmatch(name) is not None or _WORLD.fullmatch(name) is not None


def visible_landmark(name: str) -> str | None:
    """Return the landmark of a column of visibilities; None for any other column."""
    match = _VISIBILITY.fullmatch(name)
    return match[1] if match else None


def is_world(name: str) -> bool:
    """Return whether a column is a coordinate in mm, called like ``sella_x [mm]``."""
    return _WORLD.fullmatch(name) is not None


def is_predicted(name: str) -> bool:
    """Return whether a column holds what only a prediction has."""
    return is_world(name) or _PREDICTED.fullmatch(name) is not None


def plain_column(name: str) -> str:
    """Return the plain name of a column, of a size or spacing without its unit.

    Example:
        >>> plain_column("Spacing x [mm/px]"), plain_column("width [px]"), plain_column("width [mm]")
        ('spacing_x', 'width', 'width_[mm]')
    """
    match = _UNIT.fullmatch(name)
    bare = plain(match[1]) if match else ""
    if match and ((match[2] == "px" and bare in SIZES) or (match[2] != "px" and bare in SPACINGS)):
        return bare
    return plain(name)
