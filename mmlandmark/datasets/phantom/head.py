"""A head for computed tomography: 26 landmarks in the order of the schema ``phantom_head``.

Millimetres of the mean head: x to the left, y to the back, z upwards; the middle between the ears is 0, and
the plane z = 0 goes through the ear canals and the lower rims of the orbits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mmlandmark.datasets.phantom.bodies import Body, Ellipsoid, tube

AIR, FAT, SOFT, BRAIN, WATER, BONE, ENAMEL = -1000.0, -90.0, 45.0, 36.0, 8.0, 950.0, 2600.0
MIDLINE = ("nasion", "sella", "basion", "anterior nasal spine", "pogonion", "menton", "pronasale", "inion")
PAIRED = ("eye", "orbitale", "frontozygomatic suture", "zygion", "porion", "mastoid", "condylion", "gonion",
          "lower first molar")  # fmt: skip
LANDMARKS = (*MIDLINE, *(f"{side} {name}" for name in PAIRED for side in ("right", "left")))
_MOLAR_LOST = 0.2  # of the patients, each side
# Floor of the cranial cavity: a plane that falls to the back.
_FLOOR = (0.0, 0.409, 0.913, -7.4)
_VAULT = ((0.0, 2.0, 40.0), (72.0, 92.0, 78.0))
# Halves of the rows of teeth: x and y of every tooth from the middle to the back, and its radius.
_ROW = [(4, -77, 3.2), (12, -74, 3.0), (18.5, -69, 3.4), (22.5, -62, 3.2), (25, -55, 3.2), (27.5, -45.5, 4.8),
        (29.5, -35, 4.5)]  # fmt: skip
_FIRST_MOLAR = 5
# Points that the field of view of a whole scan has to hold: skin of vertex, back, sides, nose, chin.
EXTREMES = np.array([(0, 2, 125), (0, 101, 40), (80, 2, 40), (-80, 2, 40), (0, -120, -14), (0, -86, -100),
                     (60, -20, -80), (-60, -20, -80)], dtype=np.float64)  # fmt: skip


@dataclass
class Head:
    """One head in the frame of the mean head.

    Attributes:
        bodies: What is in the air, from the skin inwards.
        landmarks: (26, 3) mm, those of lost teeth too.
        present: (26,) bool, False for lost teeth.
    """

    bodies: list[Body]
    landmarks: np.ndarray
    present: np.ndarray


def beside(point: np.ndarray, x: float, y: float, z: float) -> np.ndarray:
    """Return the point that lies so many mm to the left, to the back and above."""
    return point + np.array([x, y, z])


class _Builder:
    """Collects bodies and landmarks; draws how single structures differ from the model of shapes."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.bodies: list[Body] = []
        self.places: dict[str, np.ndarray] = {}
        self.lost: set[str] = set()
        self.bone = BONE * rng.uniform(0.8, 1.2)
        self.open = math.radians(abs(rng.normal(0, 3.5)))  # of the jaw

    def near(self, x: float, y: float, z: float, sd: float = 1.0) -> np.ndarray:
        """Return a point that differs from patient to patient by ``sd`` mm along every axis."""
        return np.array([x, y, z]) + sd * np.clip(self.rng.normal(size=3), -2.5, 2.5)

    def middle(self, y: float, z: float, sd: float = 1.0) -> np.ndarray:
        """Return such a point in the plane of symmetry."""
        return self.near(0, y, z, sd) * (0, 1, 1)

    def jaw(self, point: np.ndarray) -> np.ndarray:
        """Turn a point of the lower jaw about the axis through both condyles."""
        y, z = point[1] + 13, point[2]
        cosine, sine = math.cos(self.open), math.sin(self.open)
        return np.array([point[0], cosine * y - sine * z - 13, cosine * z + sine * y])

    def ball(self, value: float, center: np.ndarray | tuple, radii: tuple[float, ...]) -> None:
        """Add an ellipsoid."""
        self.bodies.append(Ellipsoid(value, center, radii))

    def rod(self, value: float, *points: np.ndarray | tuple, radius: float | list[float]) -> None:
        """Add a tube."""
        self.bodies += tube(value, points, radius)


def build(rng: np.random.Generator) -> Head:
    """Return a random head in the frame of the mean head."""
    made = _Builder(rng)
    jaw = _jaw_points(made)
    nose = made.middle(-113, -13, 2.0)
    made.places["pronasale"] = nose
    _skin(made, jaw, nose)
    _airways(made)
    _cranium(made)
    _base(made)
    _spine(made)
    _midface(made)
    for sign, side in ((-1, "right"), (1, "left")):
        _orbit(made, sign, side)
        _ear(made, sign, side)
        _ramus(made, jaw[side], side)
    _chin(made, jaw)
    _teeth(made)
    landmarks = np.stack([made.places[name] for name in LANDMARKS])
    return Head(made.bodies, landmarks, np.array([name not in made.lost for name in LANDMARKS]))


def _jaw_points(made: _Builder) -> dict[str, dict[str, np.ndarray]]:
    """Return the points of the lower jaw that bones and skin share."""
    sides = {}
    for sign, side in ((-1, "right"), (1, "left")):
        sides[side] = dict(
            gonion=made.jaw(made.near(sign * 46, -14, -57, 2.0)),
            neck=made.jaw(np.array([sign * 50.0, -12, -10])),
            condyle=made.near(sign * 50.5, -13, 1, 1.0),
            body=made.jaw(made.near(sign * 36, -44, -67, 1.0)),
            parasymphysis=made.jaw(made.near(sign * 17, -70, -77, 0.7)),
            coronoid=made.jaw(made.near(sign * 47, -37, -8, 1.5)),
        )
    chin = made.middle(-74, -81, 1.5)
    sides["chin"] = dict(center=made.jaw(chin), radius=np.array([9.0]))
    return sides


def _skin(made: _Builder, jaw: dict[str, dict[str, np.ndarray]], nose: np.ndarray) -> None:
    """Fat below the skin and muscles within."""
    (center, radii), fat = _VAULT, made.rng.uniform(3, 6)
    chin = beside(jaw["chin"]["center"], 0, -2, -1)
    for value, inset in ((FAT, 0.0), (SOFT, fat)):
        made.ball(value, center, tuple(r + 8 - inset for r in radii))
        made.ball(value, (0, -36, -22), tuple(r - inset for r in (68, 60, 62)))
        made.rod(value, (0, 14, -40), (0, 24, -230), radius=56 - inset)
        made.rod(value, (0, -60, -50), chin, radius=[34 - inset, 16 - inset])
        for side in ("right", "left"):
            made.rod(value, jaw[side]["gonion"], chin, radius=[20 - inset, 14 - inset])
    made.rod(SOFT, (0, -86, 22), beside(nose, 0, 9, 1), (0, -84, -24), radius=[7, 9, 12])
    for sign in (-1, 1):
        made.ball(SOFT, beside(nose, sign * 9, 13, -2), (8, 10, 7))
        made.ball(FAT, made.near(sign * 79, 12, 0, 2.0), (5, 15, 29))
    rest = 112 + made.rng.uniform(-2, 6)
    arc = [(90 * math.sin(a), rest - 60 * (1 - math.cos(a)), 40.0) for a in np.linspace(-1.2, 1.2, 9)]
    for low, high in pairwise(arc):  # the head rest, of foam
        made.rod(-820, (*low[:2], -10), (*high[:2], 90), radius=6)


def _airways(made: _Builder) -> None:
    """Pharynx, mouth, and the nasal cavity as far as soft tissue bounds it."""
    made.rod(AIR, (0, -24, -12), (0, -16, -60), (0, -8, -110), (0, -4, -230), radius=[9, 8, 8, 10])
    made.ball(AIR, made.middle(-55, -38, 1.5), (14, 18, 2.5))


def _cranium(made: _Builder) -> None:
    """Vault and floor of the cranium, brain, ventricles, and the bump at the back."""
    center, radii = _VAULT
    thick = made.rng.uniform(5.0, 8.0)
    a, b, c, d = _FLOOR
    made.bodies.append(Ellipsoid(made.bone, center, radii, (a, b, c, d - 5)))
    inion = made.middle(83, 0, 1.5)
    made.ball(made.bone, beside(inion, 0, -6, 0), (12, 6, 7))
    inner = tuple(r - thick for r in radii)
    made.bodies.append(Ellipsoid(WATER, center, inner, _FLOOR))  # the fluid around the brain
    made.bodies.append(Ellipsoid(BRAIN, center, tuple(r - 3 for r in inner), (a, b, c, d + 3)))
    for sign in (-1, 1):
        wide = made.rng.uniform(5, 9)
        made.rod(WATER, (sign * 8, -30, 48), (sign * 14, 10, 54), (sign * 24, 40, 40), radius=[wide, wide, 5])
    made.ball(AIR, made.middle(-83, 38, 1.5), (15, 5, 9))  # frontal sinus
    made.places["inion"] = inion


def _base(made: _Builder) -> None:
    """Sphenoid with the pituitary fossa, clivus, and the great opening."""
    sella = made.middle(-18, 20, 1.2)
    made.ball(made.bone, beside(sella, 0, -6, -12), (17, 17, 14))
    made.ball(AIR, beside(sella, 0, -10, -15), (9, 8, 7))  # sphenoid sinus
    made.rod(made.bone, beside(sella, -8, 9, 0), beside(sella, 8, 9, 0), radius=3.5)  # dorsum
    made.rod(made.bone, beside(sella, -9, -9, 2), beside(sella, 9, -9, 2), radius=3)  # tuberculum
    made.ball(SOFT, beside(sella, 0, 0, 1.5), (8, 6, 5.5))
    basion = made.middle(11, -16, 1.2)
    made.rod(made.bone, beside(sella, 0, 9, -4), beside(basion, 0, -3, 2.5), radius=[9, 4.5])
    made.rod(WATER, beside(basion, 0, 15, 16), beside(basion, 0, 16, -12), (0, 34, -110), (0, 36, -230),
             radius=[14, 13, 8, 7])  # fmt: skip
    made.places.update(sella=sella, basion=basion)


def _spine(made: _Builder) -> None:
    """Upper neck: dens, bodies, arches, spinous processes."""
    made.rod(made.bone, (0, 13, -28), (0, 15, -52), radius=[4.5, 6])
    for sign in (-1, 1):
        made.rod(made.bone, (sign * 3, 5, -38), (sign * 22, 14, -37), (sign * 24, 24, -37),
                 (sign * 14, 42, -38), (0, 48, -39), radius=[3.5, 8, 6, 4, 4])  # fmt: skip
    for level in range(7):
        z, y = -58.0 - 19 * level, 15.0 + 1.5 * level
        made.ball(made.bone, (0, y, z), (13, 9, 7.5))
        for sign in (-1, 1):
            made.rod(made.bone, (sign * 10, y + 4, z), (sign * 21, y + 12, z), (sign * 15, y + 26, z - 4),
                     (0, y + 34, z - 6), radius=[5, 6, 4, 3.5])  # fmt: skip
        made.rod(made.bone, (0, y + 33, z - 6), (0, y + 48, z - 14), radius=3.5)


def _midface(made: _Builder) -> None:
    """Upper jaw with its sinuses, nasal cavity, septum, palate, nasal bones and the spine below the nose."""
    made.ball(made.bone, (0, -56, -18), (34, 24, 17))
    spine = made.middle(-87, -23, 1.2)
    for sign in (-1, 1):
        made.ball(AIR, made.near(sign * 22, -54, -13, 1.0), (11, 16, 12))
    made.ball(AIR, (0, -58, -8), (11, 32, 15))
    made.ball(made.bone, (0, -56, -8), (1.8, 28, 15))
    made.ball(made.bone, (0, -56, -25), (26, 26, 3.5))
    made.rod(made.bone, beside(spine, 0, 14, -2), beside(spine, 0, 1.5, 0), radius=[5, 1.8])
    nasion = made.middle(-87, 27, 1.2)
    made.rod(made.bone, (-16, -83, 38), beside(nasion, 0, 0, 7), (16, -83, 38), radius=[5, 5.5, 5])  # brow
    tip = beside(nasion, 0, -14, -21)
    for sign in (-1, 1):
        made.rod(made.bone, beside(nasion, sign * 3, 1, -2.5), beside(tip, sign * 3, 0, 0), radius=[4, 2.2])
        made.rod(made.bone, (sign * 12, -80, 22), (sign * 15, -76, -14), radius=[3.5, 5])
    made.places.update(nasion=nasion)
    made.places["anterior nasal spine"] = spine


def _orbit(made: _Builder, sign: int, side: str) -> None:
    """Orbit with its rim, the eye and its lens, cheek bone and zygomatic arch."""
    center = made.near(sign * 33, -66, 18, 1.0)
    made.ball(made.bone, beside(center, -sign * 3, 10, 0), (21, 21, 20))
    made.rod(
        FAT, beside(center, -sign * 9, 18, 0), center, beside(center, sign * 2, -18, -1), radius=[8, 17, 17]
    )
    eye = center + made.near(0, -4, 0, 0.8)
    made.ball(WATER, eye, (12, 12, 12))
    made.ball(90, beside(eye, 0, -9.5, 0), (4.5, 2.2, 4.5))
    angles = np.linspace(0, 2 * np.pi, 17)
    # The rim is nearer to the ear at its outer side.
    rim = center + np.stack(
        [sign * 19 * np.cos(angles), -8 + 5 * np.cos(angles), 19 * np.sin(angles)], axis=1
    )
    made.rod(made.bone, *rim, radius=3.2)
    orbitale, suture = rim[12], rim[1]
    made.ball(made.bone, orbitale, (4.5, 4, 3.6))
    made.ball(made.bone, suture, (4.2, 4.8, 5.5))
    cheek = made.near(sign * 47, -63, -9, 1.2)
    zygion = made.near(sign * 65, -40, -4, 2.0)
    made.ball(made.bone, cheek, (11, 8, 9))
    made.rod(made.bone, suture, cheek, radius=[4, 6])
    made.rod(made.bone, cheek, beside(zygion, -sign * 4, -13, 0), zygion, beside(zygion, -sign * 2, 14, 2),
             (sign * 61, -8, 3), radius=[5, 4, 4.4, 3.4, 4])  # fmt: skip
    made.places[f"{side} eye"] = eye
    made.places[f"{side} orbitale"] = orbitale
    made.places[f"{side} frontozygomatic suture"] = suture
    made.places[f"{side} zygion"] = zygion


def _ear(made: _Builder, sign: int, side: str) -> None:
    """Temporal bone with the ear canal, its air cells, and the mastoid."""
    canal = made.near(sign * 60, 2, -5, 1.2)
    made.ball(made.bone, beside(canal, -sign * 5, 5, 1), (13, 20, 13))
    made.rod(made.bone, beside(canal, -sign * 8, 2, 4), (sign * 14, -8, 2), radius=[9, 6])  # petrous part
    tip = made.near(sign * 55, 14, -30, 2.5)
    made.rod(made.bone, (sign * 58, 14, -6), beside(tip, 0, 0, 4), radius=[11, 4])
    for _ in range(5):
        made.ball(-300, made.near(sign * 57, 16, -10, 3.0), (2.5, 2.5, 3))
    made.rod(
        AIR, beside(canal, sign * 24, 2, -1), canal, beside(canal, -sign * 14, -1, 1), radius=[5, 4, 3.5]
    )
    made.places[f"{side} porion"] = beside(canal, 0, 0, 4.5)
    made.places[f"{side} mastoid"] = tip


def _ramus(made: _Builder, jaw: dict[str, np.ndarray], side: str) -> None:
    """Ascending part of the lower jaw, with the head of the joint."""
    notch = beside((jaw["neck"] + jaw["coronoid"]) / 2, 0, 0, -14)
    made.rod(made.bone, jaw["gonion"], (jaw["gonion"] + jaw["neck"]) / 2, jaw["neck"], radius=[7, 5, 4])
    made.rod(made.bone, jaw["neck"], beside(jaw["condyle"], 0, 0, -4), radius=[4, 4.5])
    made.rod(made.bone, beside(jaw["body"], 0, 12, 8), notch, jaw["coronoid"], radius=[6, 5, 3])
    made.ball(made.bone, beside(jaw["condyle"], 0, 0, -4.5), (9, 5, 5))
    made.places[f"{side} condylion"] = jaw["condyle"]
    made.places[f"{side} gonion"] = beside(jaw["gonion"], 0, 2, -4)


def _chin(made: _Builder, jaw: dict[str, dict[str, np.ndarray]]) -> None:
    """Body of the lower jaw."""
    chin = jaw["chin"]["center"]
    for side in ("right", "left"):
        points = [jaw[side][name] for name in ("gonion", "body", "parasymphysis")]
        made.rod(made.bone, *points, chin, radius=[7, 8, 8.5, 9])
    made.places["pogonion"] = beside(chin, 0, -9, 0)
    made.places["menton"] = beside(chin, 0, 1, -9)


def _teeth(made: _Builder) -> None:
    """Both rows of teeth and the bone that holds them; first molars of the lower row may be lost."""
    for upper in (True, False):
        base, edge = (-31.0, -44.0) if upper else (-64.0, -47.0)
        for sign, side in ((-1, "right"), (1, "left")):
            row = [np.array([sign * x, y, base]) for x, y, _ in _ROW]
            made.rod(made.bone, *(row if upper else [made.jaw(point) for point in row]), radius=6.5)
            gone = not upper and made.rng.random() < _MOLAR_LOST
            for number, (x, y, radius) in enumerate(_ROW):
                crown, root = made.near(sign * x, y, edge, 0.4), np.array([sign * x, y, base])
                if not upper:
                    crown, root = made.jaw(crown), made.jaw(root)
                if gone and number == _FIRST_MOLAR:
                    made.lost.add(f"{side} lower first molar")
                else:
                    made.rod(1500, root, crown, radius=[2, radius * 0.8])
                    made.rod(ENAMEL, 0.3 * root + 0.7 * crown, crown, radius=[radius * 0.8, radius])
                if not upper and number == _FIRST_MOLAR:
                    made.places[f"{side} lower first molar"] = crown
