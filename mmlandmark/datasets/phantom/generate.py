"""One radiograph or CT volume with exact landmarks, from a kind of anatomy, a seed and an index."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import numpy as np

from mmlandmark.datasets.phantom import ceph, hand, head, spine
from mmlandmark.datasets.phantom.head_shape import HeadShape
from mmlandmark.datasets.phantom.radiograph import attenuation, expose
from mmlandmark.datasets.phantom.scan import Scan, acquire, scan
from mmlandmark.datasets.phantom.scene import Anatomy, Scene, place

ANATOMIES: dict[str, Callable[[np.random.Generator], Anatomy]] = {
    "ceph": ceph.build,
    "hand": hand.build,
    "spine": spine.build,
}
SCHEMAS = {
    "ceph": "isbi2015_cephalogram", "hand": "hand_atlas", "spine": "spine_aasce2019", "head": "phantom_head"
}  # fmt: skip
DEFAULT_SIZES: dict[str, tuple[int, ...]] = {
    "ceph": (320, 256), "hand": (320, 224), "spine": (384, 192), "head": (80, 96, 96)
}  # fmt: skip
_BITS = {2: (8, 16), 3: (16,)}
_SMALLEST_SIDE = {2: 32, 3: 16}
_SIDES = {2: "(height, width)", 3: "(depth, height, width)"}


def generator(kind: str, seed: int, index: int, purpose: str) -> np.random.Generator:
    """Return the random stream of one purpose: a change of the texture never moves a landmark."""
    return np.random.default_rng([seed, index, zlib.crc32(f"{kind}/{purpose}".encode())])


def sample_scene(kind: str, seed: int, index: int, size: Sequence[int] | None = None) -> Scene | Scan:
    """Return patient ``index`` of a population as the camera sees it; its landmarks need no rendering.

    Args:
        kind: ``ceph``, ``hand``, ``spine`` or, in 3D, ``head``.
        seed: Non-negative number of the population.
        index: Non-negative number of the patient.
        size: (*S) of the image; the default is the usual format of the kind.

    Raises:
        ValueError: The kind is unknown, a number is negative, or the size is not two sides of at least 32,
            for ``head`` three of at least 16.
    """
    if kind not in SCHEMAS:
        raise ValueError(f"unknown phantom kind {kind!r}, known: {', '.join(SCHEMAS)}")
    if seed < 0 or index < 0:
        raise ValueError(f"phantom seed and index must not be negative, got seed={seed}, index={index}")
    size = DEFAULT_SIZES[kind] if size is None else tuple(int(side) for side in size)
    dims = len(DEFAULT_SIZES[kind])
    if len(size) != dims or min(size) < _SMALLEST_SIDE[dims]:
        raise ValueError(
            f"phantom {kind!r} is {dims}D: size must be {_SIDES[dims]}, each >= {_SMALLEST_SIDE[dims]}, "
            f"got {size}"
        )
    anatomy, pose = (generator(kind, seed, index, purpose) for purpose in ("anatomy", "pose"))
    if kind == "head":
        return scan(head.build(anatomy), HeadShape(generator(kind, seed, index, "shape")), pose, size)
    return place(ANATOMIES[kind](anatomy), pose, size)


def render_phantom(
    kind: str, seed: int, index: int, size: Sequence[int] | None = None, bits: int | None = None
) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    """Render one image like a radiograph or CT; the same arguments give the same bits on every machine.

    Args:
        kind: ``ceph`` (19 landmarks), ``hand`` (37), ``spine`` (68) or, in 3D, ``head`` (26).
        seed: Non-negative number of the population.
        index: Non-negative number of the patient.
        size: (*S) of the image; the default is the usual format of the kind.
        bits: See :func:`bits_of`.

    Returns:
        The image (*S) uint8 or uint16, a volume int16 in Hounsfield units; landmarks (K, D) float32 in
        pixels, NaN where absent; and spacing (D,) in mm per pixel.

    Raises:
        ValueError: See :func:`sample_scene` and :func:`bits_of`.
    """
    scene = sample_scene(kind, seed, index, size)
    bits = bits_of(kind, bits)
    if isinstance(scene, Scan):
        return acquire(scene, generator(kind, seed, index, "noise")), scene.landmarks, scene.spacing
    image = expose(scene, *attenuation(scene), generator(kind, seed, index, "film"), bits)
    return image, scene.landmarks, scene.spacing


def bits_of(kind: str, bits: int | None) -> int:
    """Return the bits per pixel: 8, the default, or 16; always 16 for ``head``.

    Raises:
        ValueError: The kind has no such images.
    """
    known = _BITS[len(DEFAULT_SIZES[kind])]
    if bits is not None and bits not in known:
        raise ValueError(f"phantom {kind!r} has {' or '.join(map(str, known))} bits, got bits={bits}")
    return known[0] if bits is None else bits
