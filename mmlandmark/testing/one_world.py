"""One specimen, stored in many ways, has one set of landmarks in the world.

``python -m mmlandmark.testing.one_world MODEL VOLUME`` rewrites a volume in its 24 orientations, as NIfTI,
NRRD and folders of DICOM slices, and with other voxels, predicts all of them, and prints how far the points
move in mm.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from pathlib import Path

import numpy as np
from scipy.ndimage import affine_transform

from mmlandmark.datasets.image_io import read_image
from mmlandmark.datasets.readers.loaded_image import reorder
from mmlandmark.inference import LandmarkInferencer
from mmlandmark.structures import apply_matrix, original_from_world, resize_matrix, spacing_of
from mmlandmark.testing.volume_files import write_dicom_series, write_itk, write_nifti

FORMATS: dict[str, tuple[str, Callable[[Path, np.ndarray, np.ndarray], Path]]] = {
    "NIfTI": (".nii", write_nifti),
    "NRRD": (".nrrd", write_itk),
    "DICOM series": ("", write_dicom_series),
}


@dataclass(frozen=True)
class Move:
    """How far points lie from those of the volume as it was given.

    Attributes:
        way: How the volume was stored.
        max_mm: The largest distance of a point.
        mean_mm: The mean distance of all points.
        max_voxels: The largest distance in voxels of the given volume.
        missing: Number of points that one of the two predictions lacks.
    """

    way: str
    max_mm: float
    mean_mm: float
    max_voxels: float
    missing: int


def orientations() -> list[np.ndarray]:
    """Return the 24 (3, 3) rotations that map the axes of an array to axes, the identity first.

    Example:
        >>> len(orientations()), orientations()[0].astype(int).tolist()
        (24, [[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    """
    every = (
        np.eye(3)[list(order)] * signs
        for order in permutations(range(3))
        for signs in product((1, -1), repeat=3)
    )
    return [matrix for matrix in every if np.linalg.det(matrix) > 0]


def turned(array: np.ndarray, world: np.ndarray, rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the same volume with its axes in another order and direction, and its frame.

    Args:
        array: (*S) voxels.
        world: (4, 4) voxels to mm.
        rotation: (3, 3), one of :func:`orientations`, from the old axes to the new ones.
    """
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    last = np.abs(rotation) @ (np.array(array.shape[::-1]) - 1.0)
    matrix[:3, 3] = np.where(rotation.sum(axis=1) < 0, last, 0)
    return reorder(array, matrix, 3), world @ np.linalg.inv(matrix)


def resampled(
    array: np.ndarray, world: np.ndarray, spacing: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return a volume with voxels of another size, interpolated linearly, and its frame.

    Args:
        array: (*S) voxels.
        world: (4, 4) voxels to mm.
        spacing: (x, y, z) mm of the new voxels, nearly: the new volume covers the same box.
    """
    factors = np.array(spacing_of(world)) / np.asarray(spacing)
    size = tuple(int(n) for n in np.maximum(np.rint(np.array(array.shape) * factors[::-1]), 1))
    back = np.linalg.inv(resize_matrix(array.shape, size))
    order = [2, 1, 0]  # of an array
    values = affine_transform(
        array.astype(np.float32),
        back[:3, :3][np.ix_(order, order)],
        back[:3, 3][order],
        size,
        order=1,
        mode="nearest",
    )
    if array.dtype.kind in "iu":
        values = np.rint(values)
    return values.astype(array.dtype), world @ back


def ways_to_store(
    array: np.ndarray, world: np.ndarray, folder: Path, spacings: Sequence[Sequence[float]] = ()
) -> Iterator[tuple[str, Path]]:
    """Write a volume in every way, one at a time, and yield how, and the file or folder.

    Args:
        array: (*S) voxels; a DICOM series takes integers of 8 or 16 bits.
        world: (4, 4) voxels to mm.
        folder: Where the files are written.
        spacings: (x, y, z) mm of the voxels of further volumes, see :func:`resampled`.
    """
    kinds = [name for name in FORMATS if name != "DICOM series" or array.dtype.kind in "iu"]
    for number, rotation in enumerate(orientations()):
        for kind in kinds:
            suffix, write = FORMATS[kind]
            path = folder / f"{kind.replace(' ', '_')}_{number:02d}{suffix}"
            yield f"{kind}, orientation {number}", write(path, *turned(array, world, rotation))
    for spacing in spacings:
        text = " x ".join(f"{s:.4g}" for s in spacing)
        path = folder / f"resampled_{text.replace(' ', '')}.nii"
        yield f"NIfTI, resampled to {text} mm", write_nifti(path, *resampled(array, world, spacing))


def moves(
    inferencer: LandmarkInferencer,
    volume: str | Path,
    folder: str | Path,
    spacings: Sequence[Sequence[float]] = (),
) -> list[Move]:
    """Predict one volume in every way to store it, and compare the points in mm.

    Args:
        inferencer: With a detector for volumes.
        volume: An image file with a frame.
        folder: Where the volume is rewritten; about 72 times its size.
        spacings: See :func:`ways_to_store`.

    Returns:
        A row for every way.

    Raises:
        ValueError: The volume has no frame.
    """
    image = read_image(volume)
    if image.world_from_original is None or image.array.ndim != 3:
        raise ValueError(f"{volume}: a volume with a frame is needed")
    # The axes of the array are those of the world, whatever those of the file are.
    array = np.asarray(image.array)
    world = image.world_from_original @ np.linalg.inv(image.img_from_original)
    expected = inferencer(volume)[0].world_points
    assert expected is not None  # since the file has a frame
    to_voxels = original_from_world(world)
    rows = []
    for way, path in ways_to_store(array, world, Path(folder), spacings):
        found = inferencer(path)[0].world_points
        assert found is not None
        away = np.linalg.norm(found - expected, axis=1)
        voxels = np.linalg.norm(apply_matrix(to_voxels, found) - apply_matrix(to_voxels, expected), axis=1)
        known = np.isfinite(away)
        missing = int((np.isfinite(found).all(axis=1) != np.isfinite(expected).all(axis=1)).sum())
        most = [float(values[known].max(initial=0)) for values in (away, voxels)]
        mean = float(away[known].mean()) if known.any() else 0.0
        rows.append(Move(way, most[0], mean, most[1], missing))
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the check from the command line and print a row for every way to store the volume."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="a model file, or whatever else mmlandmark predict takes")
    parser.add_argument("volume", help="a volume whose file says where in the patient it lies")
    parser.add_argument(
        "--scale",
        type=float,
        nargs="*",
        default=[0.8, 1.25],
        help="factors of the voxels of resampled volumes",
    )
    options = parser.parse_args(arguments)
    spacing = read_image(options.volume).spacing or ()
    with tempfile.TemporaryDirectory(prefix="mmlandmark_") as folder:
        rows = moves(
            LandmarkInferencer(options.model), options.volume, folder,
            [tuple(factor * s for s in spacing) for factor in options.scale],
        )  # fmt: skip
    print(f"{'way':<44} max mm   mean mm  max voxels  missing")
    for row in rows:
        print(f"{row.way:<44} {row.max_mm:<8.5f} {row.mean_mm:<8.5f} {row.max_voxels:<11.5f} {row.missing}")


if __name__ == "__main__":
    main()
