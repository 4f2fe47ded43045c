"""Whole spine from the front: 68 vertebral corners in the order of the schema ``spine_aasce2019``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmlandmark.datasets.phantom.scene import Anatomy, Part, Solid, Stroke, ellipse, spline, turn

_COUNT = 17  # T1 to L5
_ABOVE = 3  # C5 to C7, drawn but not annotated
_FIRST_LUMBAR = 12


class _Column:
    """The vertebral column of one patient: a centre line bent sideways, and vertebrae strung on it."""

    def __init__(self, rng: np.random.Generator) -> None:
        level = np.arange(-_ABOVE, _COUNT + 1)  # one sacral segment below
        fraction = np.clip(level / (_COUNT - 1), 0, 1.05)
        self.width = (25 + 22 * fraction**1.4) * rng.normal(1, 0.05)
        self.height = (15.5 + 12 * fraction) * rng.normal(1, 0.03)
        self.disc = (3.2 + 5.8 * fraction**1.5) * rng.uniform(0.7, 1.2)
        pitch = self.height + self.disc
        self.y = np.cumsum(pitch) - 0.5 * pitch
        self.y -= self.y[_ABOVE]
        length = self.y[_ABOVE + _COUNT - 1]
        # Scoliosis: up to two bends of either side, severe in a few patients.
        strength = rng.choice([3.0, 14.0, 32.0], p=[0.3, 0.45, 0.25])
        side = rng.choice([-1.0, 1.0])
        t = self.y / length
        self.x = (
            strength * side * rng.uniform(0.5, 1.2) * np.exp(-(((t - rng.uniform(0.35, 0.5)) / 0.2) ** 2))
        )
        self.x -= (
            strength * side * rng.uniform(0.2, 1.0) * np.exp(-(((t - rng.uniform(0.72, 0.86)) / 0.17) ** 2))
        )
        self.x += rng.normal(0, 6) * t + rng.normal(0, 0.4, size=len(t))
        self.tilt = np.rad2deg(np.arctan2(-np.gradient(self.x), np.gradient(self.y))) + rng.normal(
            0, 0.8, len(t)
        )
        self.length = length

    def at(self, number: int, points: np.ndarray | Sequence) -> np.ndarray:
        """Move (N, 2) points given about the centre of vertebra ``number`` (0 is T1) into the body."""
        row = number + _ABOVE
        center = (self.x[row], self.y[row])
        return turn(np.asarray(points, dtype=np.float64) + center, self.tilt[row], center)

    def size(self, number: int) -> tuple[float, float]:
        """Half width and half height of a vertebral body."""
        return self.width[number + _ABOVE] / 2, self.height[number + _ABOVE] / 2

    def center_x(self, y: float) -> float:
        """Sideways position of the centre line at height ``y``."""
        return float(np.interp(y, self.y, self.x))


def _body(corners: np.ndarray, column: _Column, number: int) -> np.ndarray:
    """Outline through the four corners (TL, TR, BL, BR) with waisted flanks and dished endplates."""
    top_left, top_right, bottom_left, bottom_right = corners
    top, bottom = 0.44 * (top_left + top_right), 0.44 * (bottom_left + bottom_right)
    left, right = 0.44 * (top_left + bottom_left), 0.44 * (top_right + bottom_right)
    order = [top_left, top_left, top, top_right, top_right, right, bottom_right, bottom_right, bottom,
             bottom_left, bottom_left, left]  # fmt: skip
    return column.at(number, spline(order, steps=4))


def _vertebrae(rng: np.random.Generator, column: _Column) -> tuple[list[Part], np.ndarray]:
    """Return all vertebrae and the (68, 2) corners of those from T1 to L5."""
    bodies, plates, pedicles, spinous, transverse, landmarks = [], [], [], [], [], []
    turned = rng.normal(0, 0.12)  # axial rotation moves pedicles and spinous processes sideways
    for number in range(-_ABOVE, _COUNT):
        a, b = column.size(number)
        corners = np.array([(-a, -b), (a, -b), (-a, b), (a, b)]) + rng.normal(0, 0.035 * b, size=(4, 2))
        bodies.append(_body(corners, column, number))
        placed = column.at(number, corners)
        if number >= 0:
            landmarks.append(placed)
        plates += [spline(column.at(number, [corners[i],
                   (0, s * 0.88 * b), corners[i + 1]]),
                   closed=False, steps=5) for i, s in ((0, -1), (2, 1))]  # fmt: skip
        shift = turned * a
        for side in (-1, 1):
            pedicle = ellipse((side * 0.6 * a + shift, -0.2 * b), (0.15 * a, 0.36 * b), count=14)
            pedicles.append(column.at(number, np.concatenate([pedicle, pedicle[:2]])))
            lumbar = number >= _FIRST_LUMBAR
            reach, rise = (1.85, -0.1) if lumbar else (1.75, -0.55)
            process = [(side * 0.8 * a, -0.45 * b), (side * reach * a, (rise - 0.18) * b), (side * reach * a,
                       (rise + 0.2) * b), (side * 0.8 * a, 0.1 * b)]  # fmt: skip
            transverse.append(column.at(number, spline(process, steps=3)))
        drop = [(shift, -0.1 * b), (shift + 0.13 * a, 0.5 * b), (shift + 0.1 * a, 0.95 * b),
                (shift - 0.1 * a, 0.95 * b), (shift - 0.13 * a, 0.5 * b)]  # fmt: skip
        spinous.append(column.at(number, spline(drop, steps=4)))
    dense = rng.uniform(0.8, 1.15)
    parts: list[Part] = [
        Solid(bodies, 0.30 * dense, rounding=4.5, cortex=1.5, rim=0.30 * dense),
        Stroke(plates, 1.5, 0.22 * dense),
        Stroke(pedicles, 1.6, 0.20 * dense),
        Solid(spinous, 0.16 * dense, rounding=2.5, cortex=1.0, rim=0.22 * dense),
        Solid(transverse, 0.11 * dense, rounding=3, cortex=1.0, rim=0.12 * dense),
    ]
    return parts, np.concatenate(landmarks)


def _ribs(rng: np.random.Generator, column: _Column) -> list[Part]:
    """Twelve pairs: back parts slope down from the spine, front parts cross them; and the clavicles."""
    back, front = [], []
    droop = rng.uniform(0.8, 1.2)
    for number in range(12):
        a, b = column.size(number)
        reach = (52, 78, 94, 104, 110, 114, 116, 116, 112, 104, 84, 58)[number]
        fall = (16, 20, 26, 31, 36, 42, 47, 52, 56, 56, 44, 30)[number] * droop
        for side in (-1, 1):
            root = column.at(number, [(side * 0.95 * a, -0.75 * b)])[0]
            outer = column.center_x(column.length / 2) * 0.3 + side * reach
            path = [root, (root[0] + side * 18, root[1] - 3),
                    ((root[0] + outer) / 2 + side * 8, root[1] + 0.18 * fall),
                    (outer - side * 6, root[1] + 0.72 * fall), (outer, root[1] + 1.15 * fall)]  # fmt: skip
            back.append(spline(path, closed=False, steps=7))
            if number < 9:
                end = (outer * 0.55, root[1] + 2.2 * fall + 12)
                path = [(outer, root[1] + 1.15 * fall), (outer * 0.93, root[1] + 1.75 * fall), end]
                front.append(spline(path, closed=False, steps=7))
    clavicle = [
        spline([(s * 12, 12), (s * 45, 3), (s * 80, -10), (s * 120, -14)], closed=False) for s in (-1, 1)
    ]
    strength = rng.uniform(0.75, 1.2)
    return [
        Stroke(back, 7.5, 0.24 * strength, core=0.45),
        Stroke(front, 7.0, 0.12 * strength, core=0.5),
        Stroke(clavicle, 10, 0.28 * strength, core=0.5),
    ]


def _organs(rng: np.random.Generator, column: _Column) -> list[Part]:
    """Trunk, lungs, heart and diaphragm, bowel gas, trachea."""
    diaphragm = column.y[_ABOVE + 9] + rng.normal(0, 8)
    deep = diaphragm + 34
    stout = rng.uniform(0.92, 1.15)
    end = column.length + 120
    trunk = [(-34, -120), (-34, -48), (-60, -22), (-150, -8), (-150, 60), (-126 * stout, 120),
             (-122 * stout, 260), (-116 * stout, 340), (-138 * stout, 440), (-140 * stout, end),
             (140 * stout, end), (138 * stout, 440), (116 * stout, 340), (122 * stout, 260),
             (126 * stout, 120), (150, 60), (150, -8), (60, -22), (34, -48), (34, -120)]  # fmt: skip
    lungs = []
    for side in (-1, 1):
        inner = 16 if side < 0 else 20
        top = [(side * 24, 6), (side * 48, -4), (side * 76, 18), (side * 98, 80), (side * 108, 160)]
        base = [(side * 112, deep), (side * 112, deep), (side * 84, diaphragm + 4), (side * 50,
                diaphragm - (12 if side < 0 else 6)), (side * 26, diaphragm + 6), (side * inner, diaphragm),
                (side * inner, 110), (side * 14, 50)]  # fmt: skip
        lungs.append(spline([*top, *base]))
    heart = [(-26, diaphragm - 70), (4, diaphragm - 112), (34, diaphragm - 74), (62, diaphragm - 24),
             (56, diaphragm + 4), (-10, diaphragm + 8), (-30, diaphragm - 26)]  # fmt: skip
    vessels = [
        np.cumsum(
            np.concatenate([[(side * 22, diaphragm - 90)], rng.normal((side * 7, slope), 2.5, size=(7, 2))]),
            axis=0,
        )
        for side in (-1, 1)
        for slope in (-12, -5, 3, 9, 14)
    ]
    gas = [
        ellipse(
            (rng.uniform(-90, 90), rng.uniform(diaphragm + 50, column.length + 60)),
            rng.uniform(6, 18, 2),
            rng.uniform(0, 180),
        )
        for _ in range(int(rng.integers(3, 10)))
    ]
    trachea = spline([(0, -110), (0, -40), (1, 20), (3, 48)], closed=False)
    return [ Solid([spline(trunk)], rng.uniform(0.85, 1.05), rounding=70, bone=False),
            Solid([spline([(-150, diaphragm + 20), (0, diaphragm), (150, diaphragm + 20), (160, end),
            (-160, end)])], rng.uniform(0.1, 0.35), rounding=60, bone=False), Solid(lungs,
            -rng.uniform(0.36, 0.55), rounding=22, bone=False), Solid([spline(heart)],
            rng.uniform(0.16, 0.3), rounding=24, bone=False), Stroke(vessels, 2.5, 0.06, bone=False),
            Solid(gas, -rng.uniform(0.06, 0.16), rounding=7, bone=False),
            Stroke([trachea], 14, -0.16, bone=False), ]  # fmt: skip


def _pelvis(column: _Column) -> list[Part]:
    """Sacrum and iliac crests at the lower border."""
    a, _ = column.size(_COUNT - 1)
    sacrum = column.at(_COUNT, [(-a, -8), (-a, -8), (0, -6), (a, -8), (a, -8), (1.5 * a, 4), (1.1 * a, 50),
                                (0, 84), (-1.1 * a, 50), (-1.5 * a, 4)])  # fmt: skip
    low = column.length
    wings = [ spline([(s * 30, low + 90), (s * 34, low + 44), (s * 52, low + 16), (s * 84, low - 4),
             (s * 116, low + 2), (s * 138, low + 30), (s * 132, low + 70), (s * 90, low + 130)])
             for s in (-1, 1) ]  # fmt: skip
    return [
        Solid([spline(sacrum)], 0.22, rounding=8, cortex=1.6, rim=0.2),
        Solid(wings, 0.2, rounding=9, cortex=2.4, rim=0.34),
    ]


def build(rng: np.random.Generator) -> Anatomy:
    """Return a random trunk, straight or scoliotic."""
    column = _Column(rng)
    vertebrae, landmarks = _vertebrae(rng, column)
    parts = _organs(rng, column) + _ribs(rng, column) + _pelvis(column) + vertebrae
    if rng.random() < 0.2:
        x = rng.uniform(-60, 60)
        lead = np.cumsum(rng.normal((0, 26), (9, 4), size=(12, 2)), axis=0) + np.array([x, -60])
        parts.append(Stroke([spline(lead, closed=False)], 1.2, 0.4))
    return Anatomy(
        parts=parts,
        landmarks=landmarks,
        center=np.array([0.0, column.length / 2 + 4]),
        extent=np.array([200.0, column.length + 66]),
        rotation=3.0,
    )
