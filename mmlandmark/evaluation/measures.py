"""Values of the clinical measures that a landmark schema declares, with their uncertainty.

Definitions are in :mod:`mmlandmark.structures.measure_definitions`; docs/measures.md describes them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmlandmark.evaluation.cobb import cobb_angles
from mmlandmark.structures import LandmarkSchema, MeasuredValue
from mmlandmark.structures.measure_classes import class_limits, class_of
from mmlandmark.structures.measure_definitions import AXES, Definition, quantity_of

_NO_LENGTH = 1e-9  # in pixels or mm; of a unit vector: lines that differ by less are parallel
_STEP = 1e-4  # pixels, of the numeric derivative
_NO_SLOPE = 1e-6  # of a measure, per pixel: the landmark has no part in it
_KINK = 0.05  # change of the slope, per pixel, within one step


def measure_all(
    schema: LandmarkSchema,
    points: np.ndarray,
    covariance: np.ndarray | None = None,
    world_from_original: np.ndarray | None = None,
    shape: tuple[int, ...] | None = None,
) -> tuple[MeasuredValue, ...]:
    """Return the values of all measures of one image, in the order of the schema.

    Args:
        schema: K landmarks and their measures.
        points: (K, D) original pixels; NaN where a landmark is missing.
        covariance: (K, D, D) of the positions in pixels^2. A measure gets a standard deviation by the delta
            method: the covariance of every landmark that it uses, through its numeric derivative. Landmarks
            count as independent.
        world_from_original: (W+1, D+1) pixels to mm, see :mod:`mmlandmark.structures.frame`. Without it,
            pixels count as square, and lengths are in pixels and fall into no class.
        shape: (*S) of the image; only Cobb angles need it.

    Raises:
        ValueError: A shape does not fit the schema, or Cobb angles lack the shape of the image.

    Example:
        >>> length = dict(name="length", kind="distance", points=["a", "b"])
        >>> schema = LandmarkSchema("own", ("a", "b"), measures=[length])
        >>> measure_all(schema, np.array([[0.0, 0], [3, 4]]))[0].value
        5.0
    """
    points = np.asarray(points, dtype=np.float64)
    matrix = None if world_from_original is None else millimetre_axes(world_from_original)[None]
    sizes = None if shape is None else np.asarray([shape])
    values = measure_values(schema, points[None], matrix, sizes)[0]
    deviations: list[float | None] = [None] * len(values)
    if covariance is not None:
        spread = np.asarray(covariance, dtype=np.float64)
        deviations = list(_deviations(schema, points, spread, matrix, sizes))
    units = measure_units(schema, in_mm=matrix is not None)
    return tuple(
        _measured(definition, float(value), unit, std)
        for definition, value, unit, std in zip(schema.measures, values, units, deviations, strict=True)
    )


def measure_units(schema: LandmarkSchema, in_mm: bool) -> tuple[str, ...]:
    """Return the unit of every measure: ``degrees``, ``mm``, ``pixels``, or empty for a ratio."""
    others = {definition["name"]: definition for definition in schema.measures}

    units = {"angle": "degrees", "length": "mm" if in_mm else "pixels", "reference length": "mm", "ratio": ""}
    return tuple(units[quantity_of(definition, others)] for definition in schema.measures)


def measure_values(
    schema: LandmarkSchema,
    points: np.ndarray,
    millimetres: np.ndarray | None = None,
    shapes: np.ndarray | None = None,
) -> np.ndarray:
    """Return the (N, M) values of all M measures of N images; NaN where one is not defined.

    A value is NaN if a landmark is missing, and if the geometry is degenerate: an angle at two points that
    coincide, a line through one point, a meeting point of parallel lines, a ratio to nothing.

    Args:
        schema: K landmarks and M measures.
        points: (N, K, D) original pixels.
        millimetres: (N, D, D) or (1, D, D) axes in mm, see :func:`millimetre_axes`; None for pixels.
        shapes: (N, D) or (1, D) array sizes of the images; only Cobb angles need them.

    Raises:
        ValueError: A shape does not fit the schema, or Cobb angles lack the shape of the image.
    """
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 3 or points.shape[1:] != (len(schema), schema.dims):
        raise ValueError(
            f"schema {schema.name!r} needs points (N, {len(schema)}, {schema.dims}), got {points.shape}"
        )
    axes = np.eye(schema.dims)[None] if millimetres is None else np.asarray(millimetres, dtype=np.float64)
    heights = None
    if shapes is not None:
        heights = np.broadcast_to(np.asarray(shapes)[:, 0] * axes[:, 1, 1], (len(points),))
    case = _Cases(schema, points @ np.swapaxes(axes, 1, 2), heights)
    for definition in schema.derived_points:
        case.derived[definition["name"]] = _DERIVED[definition["kind"]](case, definition)
    for definition in schema.measures:
        case.values[definition["name"]] = case.value(definition)
    return np.stack(list(case.values.values()), axis=1) if case.values else np.empty((len(points), 0))


def millimetre_axes(world_from_original: np.ndarray) -> np.ndarray:
    """Return a (D, D) matrix from pixels to mm along the axes of the image, for lengths and angles.

    It is upper triangular with a positive diagonal: the spacing, where the axes are at right angles.

    Example:
        >>> millimetre_axes(np.array([[0.0, -2.0, 7.0], [0.5, 0.0, 9.0], [0.0, 0.0, 1.0]])).tolist()
        [[0.5, 0.0], [0.0, 2.0]]
    """
    upper = np.linalg.qr(np.asarray(world_from_original, dtype=np.float64)[:-1, :-1], mode="r")
    return upper * np.sign(np.diag(upper))[:, None] + 0.0


@dataclass
class _Cases:
    """N images: ``points`` (N, K, D) in mm or pixels, and what follows from them."""

    schema: LandmarkSchema
    points: np.ndarray
    heights: np.ndarray | None
    derived: dict[str, np.ndarray] = field(default_factory=dict)
    values: dict[str, np.ndarray] = field(default_factory=dict)

    def at(self, point: int | str) -> np.ndarray:
        """Return (N, D)."""
        return self.derived[point] if isinstance(point, str) else self.points[:, point]

    def direction(self, line: Any) -> np.ndarray:
        """Return (N, D), the vector of a line, from its first point to its second."""
        if isinstance(line, str):
            axis = np.eye(self.points.shape[2])[AXES.index(line)]
            return np.broadcast_to(axis, self.points[:, 0].shape)
        return self.at(line[1]) - self.at(line[0])

    def start(self, line: Any) -> np.ndarray:
        """Return (N, D), a point of a line; an axis of the image runs through its first pixel."""
        return np.zeros_like(self.points[:, 0]) if isinstance(line, str) else self.at(line[0])

    def value(self, definition: Definition | str) -> np.ndarray:
        """Return (N,), the values of a measure."""
        if isinstance(definition, str):
            return self.values[definition]
        values = _MEASURES[definition["kind"]](self, definition)
        if "scale" in definition:
            pair = self.schema.reference_length or {}
            unit = _length(self.direction(pair["pair"]))
            values = values * pair["mm"] / unit
        return values


def _length(vectors: np.ndarray) -> np.ndarray:
    """Return (N,) lengths; NaN where there is none."""
    length = np.linalg.norm(vectors, axis=-1)
    return np.where(length > _NO_LENGTH, length, np.nan)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / _length(vectors)[:, None]


def _dot(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return (one * other).sum(axis=-1)


def _beside(vectors: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Return (N, D), the part of vectors that is at right angles to a unit vector."""
    return vectors - direction * _dot(vectors, direction)[:, None]


def _signed(values: np.ndarray, beside: np.ndarray, towards: np.ndarray) -> np.ndarray:
    """Return (N,) values, negative where ``beside`` points away from ``towards``, NaN if that is nowhere."""
    side = _dot(beside, _unit(towards))
    return np.where(np.isnan(side), np.nan, np.where(side < 0, -values, values))


def _angle(case: _Cases, definition: Definition) -> np.ndarray:
    if "lines" in definition:
        first, second = definition["lines"]
        origin, one, two = case.start(first), case.direction(first), case.direction(second)
    else:
        a, vertex, b = map(case.at, definition["points"])
        origin, one, two = vertex, a - vertex, b - vertex
    one, two = _unit(one), _unit(two)
    # Accurate for small and for flat angles, in 2D and 3D (Kahan 2006, section 12).
    apart, together = np.linalg.norm(one - two, axis=-1), np.linalg.norm(one + two, axis=-1)
    degrees = np.degrees(2 * np.arctan2(apart, together))
    if "positive" not in definition:
        return degrees
    return _signed(degrees, _beside(two, one), _beside(case.at(definition["positive"]) - origin, one))


def _distance(case: _Cases, definition: Definition) -> np.ndarray:
    vector = case.direction(definition["points"])
    length = np.linalg.norm(vector, axis=-1)
    if "sign_along" not in definition:
        return length
    along = _dot(vector, _unit(case.direction(definition["sign_along"])))
    return np.where(np.isnan(along), np.nan, np.where(along < 0, -length, length))


def _point_to_line(case: _Cases, definition: Definition) -> np.ndarray:
    direction, start = _unit(case.direction(definition["line"])), case.start(definition["line"])
    beside = _beside(case.at(definition["point"]) - start, direction)
    length = np.linalg.norm(beside, axis=-1)
    if "positive" not in definition:
        return length
    return _signed(length, beside, _beside(case.at(definition["positive"]) - start, direction))


def _projected_distance(case: _Cases, definition: Definition) -> np.ndarray:
    return _dot(case.direction(definition["points"]), _unit(case.direction(definition["line"])))


def _ratio(case: _Cases, definition: Definition) -> np.ndarray:
    one, other = map(case.value, definition["measures"])
    return one / np.where(np.abs(other) > _NO_LENGTH, other, np.nan)


def _sum(case: _Cases, definition: Definition) -> np.ndarray:
    total = sum(case.value(part) for part in definition["plus"])
    return np.asarray(total - sum(case.value(part) for part in definition.get("minus", ())))


def _cobb(case: _Cases, definition: Definition) -> np.ndarray:
    if case.heights is None:
        raise ValueError(f"schema {case.schema.name!r}: Cobb angles need the shape of the image, give shape")
    corners = np.stack([case.at(point) for point in definition["points"]], axis=1)
    angles = cobb_angles(corners.reshape(len(corners), -1, 4, 2), case.heights)
    curve = definition["curve"]
    if isinstance(curve, int):
        return angles.columns[:, curve - 1]
    return angles.by_place[:, ("PT", "MT", "TL/L").index(curve)]


def _midpoint(case: _Cases, definition: Definition) -> np.ndarray:
    return np.mean([case.at(point) for point in definition["points"]], axis=0)


def _projection(case: _Cases, definition: Definition) -> np.ndarray:
    direction, start = _unit(case.direction(definition["line"])), case.start(definition["line"])
    point = case.at(definition["point"])
    return point - _beside(point - start, direction)


def _intersection(case: _Cases, definition: Definition) -> np.ndarray:
    one, two = definition["lines"]
    first, second = _unit(case.direction(one)), _unit(case.direction(two))
    across = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    gap = case.start(two) - case.start(one)
    along = (gap[:, 0] * second[:, 1] - gap[:, 1] * second[:, 0]) / np.where(
        np.abs(across) > _NO_LENGTH, across, np.nan
    )
    return case.start(one) + first * along[:, None]


_MEASURES: dict[str, Callable[[_Cases, Definition], np.ndarray]] = {
    "angle": _angle,
    "distance": _distance,
    "point_to_line": _point_to_line,
    "projected_distance": _projected_distance,
    "ratio": _ratio,
    "sum": _sum,
    "cobb": _cobb,
}
_DERIVED: dict[str, Callable[[_Cases, Definition], np.ndarray]] = {
    "midpoint": _midpoint,
    "projection": _projection,
    "intersection": _intersection,
}


def _deviations(
    schema: LandmarkSchema,
    points: np.ndarray,
    covariance: np.ndarray,
    millimetres: np.ndarray | None,
    shapes: np.ndarray | None,
) -> np.ndarray:
    """Return (M,) standard deviations of the measures, NaN where they are unknown."""
    count, dims = points.shape
    if covariance.shape != (count, dims, dims):
        raise ValueError(f"covariance must be ({count}, {dims}, {dims}), got {covariance.shape}")
    steps = np.eye(count * dims).reshape(-1, count, dims) * _STEP
    values = measure_values(
        schema, np.concatenate([points + steps, points - steps, points[None]]), millimetres, shapes
    )
    after, before, here = values[: len(steps)], values[len(steps) : -1], values[-1]
    gradient = ((after - before) / (2 * _STEP)).T.reshape(-1, count, dims)
    used = (np.abs(gradient) > _NO_SLOPE).any(axis=2)  # the spread of another landmark may be unknown
    each = np.einsum("mkd,kde,mke->mk", gradient, np.nan_to_num(covariance), gradient)
    variance = np.where(used, each, 0).sum(axis=1)
    unknown = (used & ~np.isfinite(covariance).all(axis=(1, 2))).any(axis=1) | ~np.isfinite(here)
    # At a kink, such as the distance of two points that coincide, there is no derivative.
    kink = (np.abs(after + before - 2 * here) > _KINK * _STEP).any(axis=0)
    return np.sqrt(np.where(unknown | kink | (variance < 0), np.nan, variance))


def _measured(definition: Definition, value: float, unit: str, std: float | None) -> MeasuredValue:
    known = None if std is None or not math.isfinite(std) else float(std)
    classes = definition.get("classes", ()) if unit != "pixels" else ()
    place = class_of(value, classes)
    if place is None:
        return MeasuredValue(definition["name"], value, unit, known)
    label, chance = classes[place]["label"], None
    if known is not None:
        low, high = ((limit - value) for limit in class_limits(place, classes))
        chance = _normal(high, known) - _normal(low, known)
    return MeasuredValue(definition["name"], value, unit, known, label, chance)


def _normal(offset: float, std: float) -> float:
    """Return the probability that a normal variable of mean 0 is below ``offset``."""
    if std == 0 or math.isinf(offset):
        return float(offset > 0)
    return 0.5 * (1 + math.erf(offset / (std * math.sqrt(2))))
