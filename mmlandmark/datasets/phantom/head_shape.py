"""How heads differ: a linear model of shapes, smooth over all of space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# A mode moves along one axis (0 is x: to the left, 1 is y: to the back, 2 is z: upwards) by a product of
# fields, which are about 1 at the surface of the head, times a number with this standard deviation in mm.
MODES: dict[str, tuple[int, tuple[str, ...], float]] = {
    "height of the face": (2, ("below",), 5.0),
    "height of the vault": (2, ("above",), 4.0),
    "slant of the jaw": (2, ("below", "side"), 1.8),
    "forward jaw": (1, ("below",), 4.5),
    "sloping vault": (1, ("above",), 3.0),
    "oblique head": (1, ("side", "length"), 2.0),
    "chin off the middle": (0, ("below",), 2.2),
    "width of the face": (0, ("below", "side"), 3.5),
    "width of the vault": (0, ("above", "side"), 3.0),
    "width of the front": (0, ("front", "side"), 2.0),
    "bent base": (0, ("length",), 1.5),
}
_SIZE, _PROPORTIONS = 0.055, 0.02
_LIMIT = 2.5  # standard deviations; beyond, the folds of a face would not be plausible
_BEND = 25.0  # mm
_TURNS = 60


def _ramp(distance: np.ndarray) -> np.ndarray:
    """Return 0 for negative distances, and a smooth bend into a line for others, mm."""
    positive = np.maximum(distance, 0)
    return positive * positive / (positive + distance.dtype.type(_BEND))


class HeadShape:
    """One head: a smooth map from its own millimetres to those of the mean head.

    ``mean = size * own + sum_m c_m * mode_m(own)``. The map runs in this direction because the mean head is
    known as a function of the place: a voxel asks what is there. Landmarks go the other way.

    Args:
        rng: Draws size, proportions and the coefficients of :data:`MODES`.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        size = 1 + _SIZE * np.clip(rng.normal(), -_LIMIT, _LIMIT)
        proportions = 1 + _PROPORTIONS * np.clip(rng.normal(size=3), -_LIMIT, _LIMIT)
        self.scale = (1 / (size * proportions)).astype(np.float32)
        drawn = np.clip(rng.normal(size=len(MODES)), -_LIMIT, _LIMIT)
        self.coefficients = (drawn * [sd for _, _, sd in MODES.values()]).astype(np.float32)

    def to_mean(self, places: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return x, y and z in the mean head of places (x, y, z) in this one, arrays of any one shape."""
        moved = [values * values.dtype.type(s) for values, s in zip(places, self.scale, strict=True)]
        for axis, shift in enumerate(self._shifts(places)):
            moved[axis] += shift
        return moved

    def from_mean(self, points: np.ndarray) -> np.ndarray:
        """Return where (N, 3) points of the mean head lie in this one, mm."""
        wanted = np.asarray(points, dtype=np.float64)
        scale = self.scale.astype(np.float64)
        found = wanted / scale
        for _ in range(_TURNS):  # A contraction: the modes bend by far less than the size scales.
            before, found = found, (wanted - np.stack(self._shifts(found.T), axis=-1)) / scale
            if np.abs(found - before).max() < 1e-9:
                break
        return found

    def _shifts(self, places: Sequence[np.ndarray]) -> list[np.ndarray]:
        x, y, z = places
        number = x.dtype.type
        fields = dict(
            side=x * number(1 / 70),
            length=y * number(1 / 90),
            above=_ramp(z) * number(1 / 90),
            below=_ramp(-z) * number(1 / 70),
            front=_ramp(-y - number(20)) * number(1 / 50),
        )
        shifts = [np.zeros_like(x) for _ in range(3)]
        for coefficient, (axis, factors, _) in zip(self.coefficients, MODES.values(), strict=True):
            product = fields[factors[0]]
            for name in factors[1:]:
                product = product * fields[name]
            shifts[axis] += product * number(coefficient)
        return shifts
