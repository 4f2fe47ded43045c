"""Hand and wrist, palm on the detector: 37 landmarks in the order of the schema ``hand_atlas``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmlandmark.datasets.phantom.scene import Anatomy, Part, Solid, Stroke, spline

# Root of the metacarpal, direction (degrees from straight up, to the thumb's side), lengths of metacarpal
# and phalanges, half width of the shaft: thumb first. Millimetres; x to the thumb, y to the wrist.
_RAYS = (
    ((31, -30), 42, (46, 34, 24), 4.4),
    ((20, -36), 11, (70, 42, 25, 18), 4.0),
    ((5, -40), 1, (68, 46, 30, 19), 4.2),
    ((-6, -39), -8, (60, 43, 28, 19), 3.7),
    ((-14, -36), -19, (56, 34, 19, 17), 3.5),
)
_CURL = (2, 5, -1, -2, -8)  # further turn from the metacarpal to the first phalanx
_FIRST_LANDMARK = (18, 21, 25, 29, 33)

# Wrist bones: outlines through the landmarks named in them. Radius and ulna leave the picture below.
_RADIUS = [(-4, 8), (-2, 4), (8, 3), (18, -2), (25, -9), (25, -9), (28, -3), (24, 9), (19, 24), (16, 60),
           (16, 100), (1, 100), (2, 60), (1, 26)]  # fmt: skip
_ULNA = [(-26, 8), (-24, 3), (-21, 0), (-17, 3), (-9, 5), (-8, 12), (-12, 28), (-12, 60), (-12, 100),
         (-25, 100), (-24, 60), (-24, 28)]  # fmt: skip
_CARPALS = {
    "triquetrum": [(-15, -10), (-11, -13), (-12, -22), (-18, -25), (-22, -20), (-20, -12)],
    "lunate": [(-4, -2), (3, -5), (2, -12), (-4, -15), (-9, -11), (-9, -5)],
    "scaphoid": [(11, -5), (17, -8), (23, -20), (18, -23), (10, -19), (4, -11), (5, -6)],
    "capitate": [(5, -12), (9, -19), (13, -33), (5, -38), (-2, -35), (0, -22)],
    "hamate": [(-4, -17), (-3, -24), (-5, -36), (-14, -34), (-16, -28), (-10, -23)],
    "trapezium": [(23, -21), (30, -22), (31, -28), (26, -33), (21, -29)],
    "trapezoid": [(18, -24), (21, -28), (21, -34), (15, -35), (13, -27)],
    "pisiform": [(-17, -12), (-13, -16), (-15, -21), (-20, -20), (-21, -14)],
}
_FOREARM_LANDMARKS = [(-26, 8), (-21, 0), (-8, 12), (-4, 8), (24, 9), (25, -9)]
# All lie on the first vertex of an outline but that of the lunate towards the hamate.
_CARPAL_LANDMARKS = (("triquetrum", 0), ("lunate", 0), ("scaphoid", 0), ("lunate", 3), ("capitate", 0),
                     ("trapezoid", 0), ("trapezium", 0))  # fmt: skip
_PALM = [(-24, 110), (-31, 50), (-31, 10), (-28, -18), (-33, -45), (-36, -80), (-34, -96), (-18, -106),
         (8, -112), (30, -108), (41, -98), (46, -70), (58, -50), (50, -26), (36, -8), (31, 14), (27, 50),
         (22, 110)]  # fmt: skip


def _unit(degrees: float) -> np.ndarray:
    return np.array([np.sin(np.deg2rad(degrees)), -np.cos(np.deg2rad(degrees))])


def _long_bone(base: np.ndarray, head: np.ndarray, half: float, tip: bool = False) -> np.ndarray:
    """Outline of a tubular bone from the middle of its base to the middle of its head."""
    # Position along the bone and half width in shafts; a fingertip ends in a tuft instead of a condyle.
    profile = [
        (0, 0),
        (0, 1.45),
        (0.09, 1.6),
        (0.26, 1.05),
        (0.55, 0.86),
        (0.8, 1.05),
        (0.93, 1.32),
        (1, 0.75),
    ]
    if tip:
        profile = [
            (0, 0),
            (0.01, 1.3),
            (0.12, 1.35),
            (0.4, 0.75),
            (0.7, 0.62),
            (0.86, 0.95),
            (0.95, 0.85),
            (1, 0),
        ]
    axis = head - base
    side = half * np.array([-axis[1], axis[0]]) / np.sqrt((axis**2).sum())
    right = [base + u * axis + v * side for u, v in profile[1:]]
    left = [base + u * axis - v * side for u, v in profile[:0:-1]]
    return spline([base, *right, head, *left] if not tip else [base, *right, *left[1:]], steps=5)


def _capsule(start: np.ndarray, end: np.ndarray, radius: float, end_radius: float) -> np.ndarray:
    """Outline of the skin around a straight finger."""
    axis = (end - start) / np.sqrt(((end - start) ** 2).sum())
    side = np.array([-axis[1], axis[0]])
    angle = np.linspace(-np.pi / 2, np.pi / 2, 9)
    cap = np.cos(angle)[:, None] * axis + np.sin(angle)[:, None] * side
    return np.concatenate([end + end_radius * cap, start - radius * cap])


def _grown(outline: Sequence[tuple[float, float]], factor: float) -> np.ndarray:
    points = np.array(outline, dtype=np.float64)
    return points.mean(axis=0) + factor * (points - points.mean(axis=0))


def _ray(rng: np.random.Generator, number: int, young: float, spread: float) -> tuple[list[np.ndarray], ...]:
    """Return one finger: its bones, growth plates, skin and landmarks (root, joints, tip)."""
    root, straight, lengths, half = _RAYS[number]
    half *= rng.uniform(0.92, 1.1)
    direction = straight + (spread * (number - 2) * -3.0 + rng.normal(0, 1.5))
    if number == 0:
        direction += rng.uniform(-14, 10)
    point = np.array(root, dtype=np.float64) + rng.normal(0, 0.6, size=2)
    marks, bones, plates, skin = [point], [], [], []
    for order, usual in enumerate(lengths):
        length = usual * rng.normal(1, 0.035)
        head = point + length * _unit(direction)
        tip = order == len(lengths) - 1
        width = half * (1.08, 1.0, 0.85, 0.74)[order + (number == 0 and order > 0)]
        bones.append(_long_bone(point, head, width, tip))
        if order or number == 0:
            across = width * 1.35 * np.array([np.cos(np.deg2rad(direction)), np.sin(np.deg2rad(direction))])
            plate = point + (2.1 + 0.5 * (number == 0)) * _unit(direction)
            plates.append(np.stack([plate - across, plate + 0.7 * _unit(direction), plate + across]))
        if order:
            skin.append(
                _capsule(point - 6 * _unit(direction), head, 2.35 * half, (2.3, 2.1, 1.9)[order - 1] * half)
            )
        elif number == 0:
            skin.append(_capsule(point, head + 4 * _unit(direction), 3.6 * half, 2.5 * half))
        direction += _CURL[number] * (1.0 if order == 0 else 0.15) + rng.normal(0, 2.0)
        point = head + (1.5 + 1.6 * young) * _unit(direction)
        marks.append(head if tip else point)
    return bones, plates, skin, marks


def build(rng: np.random.Generator) -> Anatomy:
    """Return a random hand; the joints' gaps and growth plates follow one age."""
    young = float(rng.random())
    spread = rng.uniform(-0.7, 0.9)
    # Wrist bones ossify from the middle; in adults they nearly touch.
    carpals = {name: _grown(outline, 1.2 - 0.2 * young) for name, outline in _CARPALS.items()}
    landmarks = np.zeros((37, 2))
    landmarks[:6] = _FOREARM_LANDMARKS
    landmarks[6:13] = [carpals[name][vertex] for name, vertex in _CARPAL_LANDMARKS]
    bones: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    plates, skin = [], [spline(_PALM)]
    for number in range(5):
        more_bones, more_plates, more_skin, marks = _ray(rng, number, young, spread)
        bones[number % 2].extend(more_bones)  # neighbours overlap, so they must add up
        plates += more_plates
        skin += more_skin
        landmarks[17 - number] = marks[0]
        first = _FIRST_LANDMARK[number]
        landmarks[first : first + len(marks) - 1] = marks[1:]
    wrist = [spline(outline) for outline in carpals.values()]
    forearm = [spline(_RADIUS), spline(_ULNA)]
    dense = rng.uniform(0.75, 1.1)
    physis = [np.array([(-26, 8), (-17, 9.5), (-8, 12)]), np.array([(-4, 8), (10, 10), (24, 9)])]
    gap = -0.5 * dense * max(0.25, young)
    parts: list[Part] = [
        Solid(skin, amount=rng.uniform(0.55, 0.8), rounding=11, bone=False),
        *(Solid(group, 0.16 * dense, rounding=3.6, cortex=1.1, rim=0.62 * dense) for group in bones),
        Solid(wrist[:-1:2], 0.42 * dense, rounding=5.5, cortex=1.1, rim=0.35 * dense),
        Solid(wrist[1:-1:2], 0.42 * dense, rounding=5.5, cortex=1.1, rim=0.35 * dense),
        Solid(wrist[-1:], 0.26 * dense, rounding=4, cortex=0.9, rim=0.3 * dense),
        Solid(forearm, 0.26 * dense, rounding=7, cortex=1.9, rim=0.62 * dense),
        Stroke(plates, 1.1, gap),
        Stroke(physis, 1.3, gap),
        Stroke([line + np.array([0, 1.7]) for line in physis], 0.9, 0.25 * dense),
    ]
    return Anatomy(
        parts=parts,
        landmarks=landmarks,
        center=np.array([17.0, -93.0]),
        extent=np.array([175.0, 262.0]),
        rotation=9.0,
    )
