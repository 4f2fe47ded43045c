"""Lateral skull: 19 landmarks in the order of the schema ``isbi2015_cephalogram``.

Template in millimetres about the centre of the sella, x to the face, y to the neck. A vertex given twice
is a corner. Structures belong to the skull, the maxilla or the mandible, which move against each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmlandmark.datasets.phantom.scene import Anatomy, Part, Solid, Stroke, ellipse, spline, turn

_SELLA, _NASION, _ORBITALE, _PORION, _ARTICULARE = (0, 0), (62, -4), (46, 22), (-22, 22), (-15, 36)
_POINT_A, _SUBNASALE, _PNS, _ANS = (58, 55), (72, 52), (15, 44), (63, 48)
_POINT_B, _POGONION, _MENTON, _GNATHION, _GONION = (53.5, 88), (54, 101), (45, 110), (51, 107.5), (-10, 79)
_LOWER_INCISOR, _UPPER_INCISOR = (63, 71), (66, 74)
_UPPER_LIP, _LOWER_LIP, _SOFT_POGONION = (78, 65), (75, 81), (66, 101)

_VAULT = [_NASION, (65, -12), (68, -22), (67, -42), (58, -66), (42, -86), (16, -99), (-16, -102), (-48, -93),
          (-74, -73), (-89, -46), (-92, -14), (-85, 12), (-70, 29), (-50, 40), (-38, 42), (-24, 42),
          _ARTICULARE, (-8, 27), (4, 20), (20, 6), (36, -1), (50, -4)]  # fmt: skip
_SKIN: list[tuple[float, float]] = [
         (-72, 190), (-70, 120), (-76, 70), (-92, 36), (-102, -4), (-100, -48), (-82, -84), (-50, -106),
         (-14, -112), (20, -107), (48, -92), (66, -68), (75, -42), (75, -20), (70, -5), (76, 8), (86, 24),
         (93, 36), (90, 43), (80, 46), _SUBNASALE, (73, 57), _UPPER_LIP, (76, 70), (70, 73), (73, 76),
         _LOWER_LIP, (71, 87), (65, 92), _SOFT_POGONION, (64, 111), (55, 119), (42, 121), (22, 117),
         (10, 124), (6, 150), (12, 190)]  # fmt: skip
# How far each vertex of the skin follows the maxilla and the mandible.
_SKIN_MAXILLA = {18: 0.2, 19: 0.6, 20: 1, 21: 1, 22: 1, 23: 1, 24: 0.5}
_SKIN_MANDIBLE = {24: 0.5, 25: 1, 26: 1, 27: 1, 28: 1, 29: 1, 30: 1, 31: 1, 32: 0.9, 33: 0.5, 34: 0.2}
_FACE = [_NASION, (69, 8), (66, 16), (58, 22), (57, 36), (61, 45), (50, 52), (30, 50), (16, 46), (11, 30),
         (14, 12), (34, 4), (50, -2)]  # fmt: skip
_NASAL_BONE = [_NASION, (67, 3), (74, 16), (74, 16), (69, 9), (63, 3)]
_PALATE = [_ANS, _ANS, (54, 47), (38, 45), (24, 43.5), _PNS, _PNS, (24, 46.5), (38, 49), (52, 51)]
_ALVEOLUS = [(61, 50), _POINT_A, (60, 61), (62, 65), (58, 66), (40, 66), (22, 63), (19, 52), (38, 49),
             (52, 50)]  # fmt: skip
_MANDIBLE = [(-8, 22), (-14, 26), _ARTICULARE, (-15, 52), (-14, 66), _GONION, (-2, 85), (12, 92), (30, 102),
             _MENTON, _GNATHION, _POGONION, (52.5, 94), _POINT_B, (56, 82), (58, 77), (52, 75), (36, 76),
             (20, 75), (13, 70), (9, 54), (8, 38), (6, 31), (1, 38), (-3, 35), (-2, 26)]  # fmt: skip
_ORBIT = [(38, 2), (36, 10), (39, 18), _ORBITALE, (53, 19), (57, 12)]
_SELLA_LINE = [(46, -10), (28, -9), (13, -8), (8, -6), (6.5, 1), (1, 6), (-5, 4), (-7, -3), (-9, -5),
               (-10, 2), (-16, 22), (-24, 42)]  # fmt: skip
_KEY_RIDGE = [(39, 20), (35, 30), (36, 41), (40, 47), (45, 40), (50, 30)]
_PETROUS = [(-12, 14), (-20, 6), (-34, 4), (-48, 14), (-50, 30), (-40, 42), (-30, 40), (-14, 30)]
# In the order of the schema, each with the part it moves with.
_LANDMARKS = (
    (_SELLA, "skull"),
    (_NASION, "skull"),
    (_ORBITALE, "skull"),
    (_PORION, "skull"),
    (_POINT_A, "maxilla"),
    (_POINT_B, "mandible"),
    (_POGONION, "mandible"),
    (_MENTON, "mandible"),
    (_GNATHION, "mandible"),
    (_GONION, "mandible"),
    (_LOWER_INCISOR, "mandible"),
    (_UPPER_INCISOR, "maxilla"),
    (_UPPER_LIP, "skin"),
    (_LOWER_LIP, "skin"),
    (_SUBNASALE, "skin"),
    (_SOFT_POGONION, "skin"),
    (_PNS, "maxilla"),
    (_ANS, "maxilla"),
    (_ARTICULARE, "mandible"),
)
_CONDYLE = (-8, 26)


def _tooth(tip: np.ndarray, apex: np.ndarray, width: float, blunt: float = 0.12) -> np.ndarray:
    """Outline of a tooth from its tip, which lies on the outline, to the apex of its root."""
    axis = np.asarray(apex, dtype=np.float64) - tip
    side = width / 2 * np.array([-axis[1], axis[0]]) / np.sqrt((axis**2).sum())
    profile = [(0.05, 0.5 + blunt), (0.2, 1.0), (0.4, 0.9), (0.72, 0.62), (0.97, 0.25)]
    right = [tip + u * axis + v * side for u, v in profile]
    left = [tip + u * axis - v * side for u, v in profile[::-1]]
    return spline([tip, tip, *right, *left], steps=3)


class _Jaws:
    """The mobile parts of one face: how maxilla and mandible sit under the skull."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.advance = rng.normal(0, (2.2, 1.2))  # of the maxilla, mm
        self.opening = rng.normal(0, 3.2)  # turn of the mandible about the condyle, degrees
        self.length = rng.normal(1, 0.035)
        self.ramus = rng.normal(1, 0.04)
        self.height = rng.normal(0, 0.05)  # of the lower face

    def __call__(self, points: np.ndarray | Sequence, part: str = "skull") -> np.ndarray:
        """Move (N, 2) template points with ``part``; the whole face then lengthens below the orbit."""
        points = np.asarray(points, dtype=np.float64).reshape(-1, 2)
        if part == "maxilla":
            points = points + self.advance
        elif part == "mandible":
            # The articular end stays at the skull, the chin takes the full change.
            reach = np.clip((points - _CONDYLE) / 30, 0, 1)
            stretch = 1 + np.array([self.length - 1, self.ramus - 1]) * reach
            points = turn((points - _CONDYLE) * stretch + _CONDYLE, self.opening, _CONDYLE)
        lower = np.maximum(points[:, 1:] - 24, 0) * self.height
        return points + np.concatenate([np.zeros_like(lower), lower], axis=1)

    def skin(self, thickness: np.ndarray) -> np.ndarray:
        """Return the vertices of the skin, which follows the bones below it."""
        still = self(_SKIN)
        follow = {"maxilla": _SKIN_MAXILLA, "mandible": _SKIN_MANDIBLE}
        moved = still.copy()
        for part, weights in follow.items():
            shift = self(_SKIN, part) - still
            for vertex, weight in weights.items():
                moved[vertex] += weight * shift[vertex]
        moved[18:32] += thickness
        return moved


def _teeth(
    rng: np.random.Generator, jaws: _Jaws
) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Return the incisors, the back teeth and their fillings."""
    upper = turn([_UPPER_INCISOR, (55, 51)], rng.normal(0, 4), _UPPER_INCISOR)
    lower = turn([_LOWER_INCISOR, (55, 92)], rng.normal(0, 4), _LOWER_INCISOR)
    upper, lower = jaws(upper, "maxilla"), jaws(lower, "mandible")
    incisors = [_tooth(upper[0], upper[1], 7.5), _tooth(lower[0], lower[1], 6.2)]
    back, fillings = [], []
    for place, x in enumerate((51, 44, 36, 27)):
        width = 7.0 if place < 2 else 9.8
        for part, tip, apex in (("maxilla", 71.5, 54), ("mandible", 72.5, 90)):
            slope = -0.08 * (x - 51)
            tooth = jaws([(x, tip - slope), (x - 3, apex - slope)], part)
            back.append(_tooth(tooth[0], tooth[1], width, blunt=0.45))
            if rng.random() < 0.1:
                fillings.append(
                    ellipse(tooth[0] + 0.18 * (tooth[1] - tooth[0]), (0.4 * width, 2.2), count=10)
                )
    return incisors, back, fillings


def _neck(rng: np.random.Generator) -> list[Part]:
    """Cervical spine below the occiput, hyoid and the airway in front of it."""
    lean = rng.normal(0, 0.1)
    bodies, arches = [], []
    for level in range(6):
        y = 62 + 18.5 * level
        x = -38 + lean * (y - 62) + 4 * np.sin(level / 2.0)
        body = [(x - 8, y - 6), (x - 8, y - 6), (x, y - 6.3), (x + 8, y - 7), (x + 8, y - 7), (x + 7.6, y),
                (x + 9, y + 7), (x + 9, y + 7), (x, y + 6.2), (x - 8, y + 6), (x - 8, y + 6),
                (x - 7.6, y)]  # fmt: skip
        bodies.append(turn(spline(body, steps=4), 8 + 20 * lean, (x, y)))
        arch = [(x - 10, y - 3), (x - 18, y - 1), (x - 30, y + 3), (x - 33, y + 8), (x - 26, y + 9),
                (x - 16, y + 5)]  # fmt: skip
        arches.append(turn(spline(arch, steps=4), 8, (x, y)))
    dens = spline([(-44, 58), (-42, 44), (-37, 41), (-33, 46), (-32, 58)], steps=4)
    atlas = [ellipse((-28, 47), (4, 5)), ellipse((-60, 50), (9, 4), -8)]
    airway = spline(
        [(8, 32), (10, 44), (6, 60), (2, 76), (0, 96), (4, 116), (2, 150), (-4, 190)], closed=False
    )
    return [
        Solid([*bodies, dens], 0.28, rounding=6, cortex=1.4, rim=0.34),
        Solid(arches + atlas, 0.18, rounding=4, cortex=1.2, rim=0.25),
        Solid([ellipse((8 + 20 * lean, 118), (9, 2.4), 25)], 0.2, rounding=2.0, cortex=0.8, rim=0.2),
        Stroke([airway], 11, -0.22, bone=False),
    ]


def _skull(rng: np.random.Generator) -> list[Part]:
    """Vault, base, orbit, ear and the air-filled spaces."""
    sutures = [(-92, -30), (-70, -40), (-52, -58), (-30, -100)], [(20, -98), (8, -70), (12, -40), (4, -14)]
    cells = [
        ellipse(rng.normal((-38, 26), (7, 7)), rng.uniform(1.2, 3, 2), rng.uniform(0, 180), 10)
        for _ in range(14)
    ]
    doubled = spline(_ORBIT, closed=False) + rng.normal((3, -2), 1.5)
    meatus = (_PORION[0], _PORION[1] + 6.0)
    vessels = [
        np.cumsum(rng.normal((-5.0, -4.5), 2.5, size=(9, 2)), axis=0) + start
        for start in ((10, -30), (30, -40))
    ]
    frontal_sinus = [(60, -12), (64, -20), (63, -32), (59, -30), (56, -16)]
    return [
        Solid([spline(_VAULT)], 0.2, rounding=30, cortex=rng.uniform(4.5, 6.5), rim=0.75),
        Solid([spline(_VAULT)], 0.45, rounding=60, bone=False),
        Solid([spline(_PETROUS)], 0.5, rounding=14),
        Solid(cells, -0.16, rounding=2),
        Solid([spline(frontal_sinus)], -0.3, rounding=4),
        Solid([ellipse((6, 13), (13, 8), 20)], -0.24, rounding=5),
        Solid([ellipse((46, 8), (10, 12), 10)], -0.16, rounding=8),
        Stroke([spline(_SELLA_LINE, closed=False)], 2.4, 0.42),
        Stroke([spline([(60, -16), (50, -13), (30, -13), (14, -9)], closed=False)], 1.8, 0.28),
        Stroke([spline(line, closed=False) for line in sutures], 1.4, -0.07),
        Stroke([spline(line, closed=False, steps=3) for line in vessels], 1.2, -0.05),
        Stroke([spline(_ORBIT, closed=False)], 2.2, 0.32),
        Stroke([doubled], 1.8, 0.2),
        Solid([ellipse(meatus, (6, 6))], -0.3, rounding=3),
        Stroke([spline(ellipse(meatus, (6, 6)))], 1.8, rng.uniform(0.45, 0.8)),
    ]


def _face(rng: np.random.Generator, jaws: _Jaws) -> list[Part]:
    """Midface, jaws and teeth."""
    incisors, back, fillings = _teeth(rng, jaws)
    mandible = spline(jaws(_MANDIBLE, "mandible"))
    other_side = spline(jaws(_MANDIBLE[:10], "mandible"), closed=False) + rng.normal((2.5, -2.5), 1.2)
    sinus = spline(jaws([(30, 24), (50, 27), (53, 40), (46, 45), (24, 42), (22, 30)], "maxilla"))
    fissure = spline(jaws([(15, 20), (19, 26), (17, 35), (15, 42), (12, 32)], "maxilla"))
    face = jaws(_FACE)
    face[5:9] += jaws.advance
    return [
        Solid([spline(face)], 0.38, rounding=7),
        Solid([spline(_NASAL_BONE)], 0.45, rounding=2.0),
        Solid([spline(jaws(_PALATE, "maxilla"))], 0.52, rounding=1.6),
        Solid([spline(jaws(_ALVEOLUS, "maxilla"))], 0.36, rounding=5, cortex=1.2, rim=0.18),
        Solid([sinus], -0.22, rounding=6),
        Solid([fissure], -0.2, rounding=2),
        Stroke([spline(jaws(_KEY_RIDGE, "maxilla"), closed=False)], 1.8, 0.2),
        Solid([mandible], 0.42, rounding=8, cortex=2.8, rim=0.5),
        Stroke([other_side], 2.0, 0.14),
        Solid(incisors, 0.62, rounding=2.2),
        Solid(back[::2], 0.55, rounding=3),
        Solid(back[1::2], 0.55, rounding=3),
        *([Solid(fillings, 1.8, rounding=1.5)] if fillings else []),
        Solid([ellipse((34, 82), (22, 12), 12)], 0.12, rounding=10, bone=False),
    ]


def build(rng: np.random.Generator) -> Anatomy:
    """Return a random head in profile, in a head holder or not."""
    jaws = _Jaws(rng)
    skin = jaws.skin(rng.normal((rng.normal(0, 1.2), 0), 0.7, size=(14, 2)))
    landmarks = [
        skin[_SKIN.index(point)] if part == "skin" else jaws(point, part)[0] for point, part in _LANDMARKS
    ]
    outline = spline(skin)
    # The head is thick, but lips and chin are too: they stand out against air.
    parts: list[Part] = [
        Solid([outline], rng.uniform(0.4, 0.55), rounding=24, bone=False),
        Solid([outline], rng.uniform(0.25, 0.4), rounding=5, bone=False),
    ]
    parts += _skull(rng) + _face(rng, jaws) + _neck(rng)
    parts.append(
        Solid([spline([(-120, 146), (-84, 134), (-30, 152), (0, 190), (-120, 200)])], 0.8, 20, bone=False)
    )
    if rng.random() < 0.6:
        rod = [np.array([(96.0, -110.0), (96.0, -24.0)]), np.array([(99.5, -110.0), (99.5, -24.0)])]
        ticks = [np.array([(96.0, y), (99.5, y)]) for y in range(-74, -24, 5)]
        parts.append(Stroke(rod + ticks, 1.2, 0.5, fixed=True))
        parts.append(
            Stroke([np.array([(84.0, -6.0), (98.0, -6.0), (98.0, -24.0)])], 5.0, 0.25, bone=False, fixed=True)
        )
    return Anatomy(
        parts=parts,
        landmarks=np.array(landmarks),
        center=np.array([9.0, 16.0]),
        extent=np.array([196.0, 244.0]),
        rotation=8.0,
    )
