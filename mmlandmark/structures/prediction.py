"""The answer for one image: landmarks in its pixels and in the world, how sure they are, measurements."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from mmlandmark.structures.frame import spacing_of
from mmlandmark.structures.landmark_schema import LandmarkSchema

_ARRAYS = ("points", "scores", "spread", "presence", "deviation", "world_from_original")
_LEVELS = ("radii", "regions")


@dataclass(frozen=True)
class MeasuredValue:
    """A clinical measurement of one image.

    Attributes:
        name: As in the schema.
        value: NaN where a landmark that it needs is not predicted.
        unit: ``degrees``, ``mm``, ``pixels``, or empty for a ratio.
        std: Its standard deviation, propagated from the spread of the landmarks; None if that is unknown.
        label: The class that the value falls into; empty without classes.
        label_probability: That the true value is in this class, if the error is normal with ``std``; None if
            that is unknown.
    """

    name: str
    value: float
    unit: str
    std: float | None = None
    label: str = ""
    label_probability: float | None = None


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a detector says about one image. Coordinates are (x, y[, z]) in original pixels, as stored.

    Attributes:
        sample_id: Name of the image, unique in its set.
        image: File that it came from; None for an array.
        shape: (*S) of the original image.
        schema: The K landmarks.
        points: (K, D) float64 pixels; NaN where a landmark is not predicted.
        scores: (K,) see the codec; 0 where a landmark is not predicted.
        world_from_original: (W+1, D+1) pixels to mm, see :mod:`mmlandmark.structures.frame`, or None.
        spread: (K, D, D) covariance of the position in pixels^2, or None.
        presence: (K,) probability that the landmark is in the image, or None.
        deviation: (K,) how far it lies from where the other landmarks expect it, in standard deviations, or
            None.
        radii: By level, such as 0.9: (K,) radii in ``radius_unit`` that hold the true position with this
            probability; NaN where the radius is unknown.
        radius_unit: ``mm`` or ``pixels``.
        regions: By level: (K, D, D) matrices A in pixels^2; the region of a point p is
            (x - p)^T A^-1 (x - p) <= 1.
        reasons: K texts that say why a person should look at the landmark; empty for the others.
        measures: Values of the measurements that the schema declares.

    Raises:
        ValueError: An array does not have one entry per landmark, or not the dimensions of the image.
    """

    sample_id: str
    image: str | None
    shape: tuple[int, ...]
    schema: LandmarkSchema
    points: np.ndarray
    scores: np.ndarray
    world_from_original: np.ndarray | None = None
    spread: np.ndarray | None = None
    presence: np.ndarray | None = None
    deviation: np.ndarray | None = None
    radii: dict[float, np.ndarray] = field(default_factory=dict)
    radius_unit: str = "pixels"
    regions: dict[float, np.ndarray] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    measures: tuple[MeasuredValue, ...] = ()

    def __post_init__(self) -> None:
        count, dims = len(self.schema), len(self.shape)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        object.__setattr__(self, "reasons", tuple(self.reasons) or ("",) * count)
        for key in _ARRAYS:
            value = getattr(self, key)
            if value is not None:
                object.__setattr__(self, key, np.asarray(value, dtype=np.float64))
        if self.points.shape != (count, dims) or self.scores.shape != (count,):
            raise ValueError(
                f"prediction {self.sample_id!r}: {count} landmarks of an image of {dims} dimensions need "
                f"points ({count}, {dims}) and scores ({count},), got {self.points.shape} and "
                f"{self.scores.shape}"
            )
        expected = {"spread": (count, dims, dims), "presence": (count,), "deviation": (count,)}
        given = [(key, getattr(self, key), shape) for key, shape in expected.items()]
        given += [(f"radii[{level}]", value, (count,)) for level, value in self.radii.items()]
        given += [(f"regions[{level}]", value, (count, dims, dims)) for level, value in self.regions.items()]
        given += [("reasons", np.asarray(self.reasons), (count,))]
        for key, value, shape in given:
            if value is not None and np.shape(value) != shape:
                raise ValueError(
                    f"prediction {self.sample_id!r}: {key} must have shape {shape}, got {np.shape(value)}"
                )

    @property
    def spacing(self) -> tuple[float, ...] | None:
        """(D,) mm per pixel, (x, y[, z]); None if the frame is unknown."""
        return None if self.world_from_original is None else spacing_of(self.world_from_original)

    @property
    def world_points(self) -> np.ndarray | None:
        """(K, W) mm; None if the frame is unknown."""
        matrix = self.world_from_original
        if matrix is None:
            return None
        return self.points @ matrix[:-1, :-1].T + matrix[:-1, -1]

    @property
    def found(self) -> np.ndarray:
        """(K,) whether a landmark is predicted."""
        return np.isfinite(self.points).all(axis=1)

    @property
    def flagged(self) -> np.ndarray:
        """(K,) whether a person should look at the landmark."""
        return np.array([bool(reason) for reason in self.reasons])

    def __getitem__(self, name: str) -> np.ndarray:
        """Return the (D,) pixels of a landmark by its name."""
        return self.points[self.schema.landmarks.index(name)]

    def with_reasons(self, reasons: dict[int, str]) -> Prediction:
        """Return the prediction with further reasons to look at landmarks, by their indices."""
        old = self.reasons
        new = tuple("; ".join(filter(None, (old[k], reasons.get(k, "")))) for k in range(len(old)))
        return replace(self, reasons=new)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, without the schema; NaN becomes None."""
        data: dict[str, Any] = {key: getattr(self, key) for key in _PLAIN}
        data |= {key: _listed(getattr(self, key)) for key in _ARRAYS}
        data |= {
            key: {str(level): _listed(value) for level, value in getattr(self, key).items()}
            for key in _LEVELS
        }
        data["measures"] = [
            {f.name: _plain(getattr(measure, f.name)) for f in fields(measure)} for measure in self.measures
        ]
        return data | dict(shape=list(self.shape), reasons=list(self.reasons))

    @classmethod
    def from_dict(cls, data: dict[str, Any], schema: LandmarkSchema) -> Prediction:
        """Return a prediction from :meth:`to_dict`.

        Example:
            >>> schema = LandmarkSchema.numbered(1)
            >>> one = Prediction("a", None, (9, 9), schema, np.array([[1.5, 2.0]]), np.ones(1))
            >>> Prediction.from_dict(one.to_dict(), schema).points.tolist()
            [[1.5, 2.0]]
        """
        values: dict[str, Any] = {key: data[key] for key in _PLAIN}
        values |= {key: _array(data[key]) for key in _ARRAYS}
        values |= {
            key: {float(level): _array(value) for level, value in data[key].items()} for key in _LEVELS
        }
        measures = tuple(
            MeasuredValue(**{**measure, "value": _number(measure["value"])}) for measure in data["measures"]
        )
        return cls(
            **values,
            schema=schema,
            shape=tuple(data["shape"]),
            reasons=tuple(data["reasons"]),
            measures=measures,
        )


_PLAIN = ("sample_id", "image", "radius_unit")


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _listed(array: np.ndarray | None) -> list | None:
    if array is None:
        return None
    listed = array.astype(object)
    listed[~np.isfinite(array)] = None
    return listed.tolist()


def _array(values: list | None) -> np.ndarray | None:
    return None if values is None else np.array(values, dtype=np.float64)
