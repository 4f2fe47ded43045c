"""One radiograph with exact landmarks, from a kind of anatomy, a seed and an index."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import numpy as np

from mmlandmark.datasets.phantom import ceph, hand, spine
from mmlandmark.datasets.phantom.radiograph import attenuation, expose
from mmlandmark.datasets.phantom.scene import Anatomy, Scene, place

ANATOMIES: dict[str, Callable[[np.random.Generator], Anatomy]] = {
    "ceph": ceph.build,
    "hand": hand.build,
    "spine": spine.build,
}
SCHEMAS = {"ceph": "isbi2015_cephalogram", "hand": "hand_atlas", "spine": "spine_aasce2019"}
DEFAULT_SIZES = {"ceph": (320, 256), "hand": (320, 224), "spine": (384, 192)}
_SMALLEST_SIDE = 32


def generator(kind: str, seed: int, index: int, purpose: str) -> np.random.Generator:
    """Return the random stream of one purpose: a change of the texture never moves a landmark."""
    return np.random.default_rng([seed, index, zlib.crc32(f"{kind}/{purpose}".encode())])


def sample_scene(kind: str, seed: int, index: int, size: Sequence[int] | None = None) -> Scene:
    """Return patient ``index`` of a population in front of the detector; its landmarks need no rendering.

    Args:
        kind: ``ceph``, ``hand`` or ``spine``.
        seed: Non-negative number of the population.
        index: Non-negative number of the patient.
        size: (*S) of the image; the default is the usual format of the kind.

    Raises:
        ValueError: The kind is unknown, a number is negative, or the size is not two sides of at least 32.
    """
    if kind not in ANATOMIES:
        raise ValueError(f"unknown phantom kind {kind!r}, known: {', '.join(ANATOMIES)}")
    if seed < 0 or index < 0:
        raise ValueError(f"phantom seed and index must not be negative, got seed={seed}, index={index}")
    size = DEFAULT_SIZES[kind] if size is None else tuple(int(side) for side in size)
    if len(size) != 2 or min(size) < _SMALLEST_SIDE:
        raise ValueError(
            f"phantom {kind!r} is 2D: size must be (height, width), each >= {_SMALLEST_SIDE}, got {size}"
        )
    return place(
        ANATOMIES[kind](generator(kind, seed, index, "anatomy")), generator(kind, seed, index, "pose"), size
    )


def render_phantom(
    kind: str, seed: int, index: int, size: Sequence[int] | None = None, bits: int = 8
) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    """Render one radiograph-like image; the same arguments give the same bits on every machine.

    Args:
        kind: ``ceph`` (19 landmarks), ``hand`` (37) or ``spine`` (68).
        seed: Non-negative number of the population.
        index: Non-negative number of the patient.
        size: (*S) of the image; the default is the usual format of the kind.
        bits: 8 or 16.

    Returns:
        The image (*S) uint8 or uint16, landmarks (K, D) float32 in pixels, spacing (D,) in mm per pixel.

    Raises:
        ValueError: See :func:`sample_scene`; also if ``bits`` is neither 8 nor 16.
    """
    if bits not in (8, 16):
        raise ValueError(f"phantoms have 8 or 16 bits, got bits={bits}")
    scene = sample_scene(kind, seed, index, size)
    image = expose(scene, *attenuation(scene), generator(kind, seed, index, "film"), bits)
    return image, scene.landmarks, scene.spacing
