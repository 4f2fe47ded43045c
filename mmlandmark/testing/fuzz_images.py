"""Small valid images and volumes of every format, for the fuzzer."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from mmlandmark.datasets.image_files import image_frame, image_shape
from mmlandmark.datasets.image_io import read_image
from mmlandmark.datasets.phantom import render_phantom
from mmlandmark.datasets.readers.volume import need
from mmlandmark.structures import world_matrix
from mmlandmark.testing.fuzz_case import Case, Nonsense
from mmlandmark.testing.mutations import gunzipped, gzipped, with_png_checksums
from mmlandmark.testing.volume_files import write_dicom_series, write_itk, write_nifti

WORLD = world_matrix((0.5, 0.6, 2.0), (-10.0, 20.0, 5.0), np.diag([1.0, -1.0, 1.0]))
RASTER = {
    "gray.jpg": "JPEG", "colour.jpg": "JPEG", "gray.png": "PNG", "deep.png": "PNG", "gray.bmp": "BMP",
    "gray.tif": "TIFF", "stack.tif": "TIFF", "deep.pgm": "PGM", "colour.ppm": "PPM", "lossy.webp": "WebP",
    "exact.webp": "WebP",
}  # fmt: skip
VOLUMES = {
    "plain.mha": "MHA", "packed.mha": "MHA", "header.mhd": "MHD", "plain.nrrd": "NRRD", "packed.nrrd": "NRRD",
    "plain.nii": "NIfTI", "packed.nii.gz": "NIfTI.gz", "plain.npy": "npy",
}  # fmt: skip


def image_cases(root: Path) -> list[Case]:
    """Write an image or volume of every format below ``root``, each in a folder; return the cases.

    Raises:
        ImportError: A package that writes one of the formats is missing.
    """
    made = []
    for name, kind in {**RASTER, **VOLUMES}.items():
        folder = root / name.replace(".", "_")
        folder.mkdir(parents=True)
        (_write_raster if name in RASTER else _write_volume)(folder / name)
        read = partial(check_image, name=name)
        made.append(Case(kind, folder.name, name, read, text=name.endswith(".mhd")))
    made = [_behind_checksums(case) for case in made]
    made += _dicom_cases(root)
    return made


def check_image(folder: Path, name: str = "") -> Hashable:
    """Read an image with its header; return what can be compared.

    Args:
        folder: Where it is.
        name: Of the file; the folder itself, of slices, without one.

    Raises:
        Nonsense: Pixels, size or frame make no sense, or header and image differ.
    """
    path = folder / name
    image = read_image(path)
    if not image.array.size or not np.isfinite(image.array).all():
        raise Nonsense("there are no pixels, or some are not finite")
    if image.spacing is not None and not all(0 < step < np.inf for step in image.spacing):
        raise Nonsense(f"the spacing is {image.spacing}")
    if not np.isfinite(image.img_from_original).all():
        raise Nonsense("the frame is not finite")
    if tuple(image_shape(path)) != tuple(image.ori_shape):
        raise Nonsense(f"the header says {image_shape(path)}, the image {image.ori_shape}")
    world, frame = image.world_from_original, image_frame(path)
    if (None if world is None else world.tolist()) != (None if frame is None else frame.tolist()):
        raise Nonsense(f"the frame is {frame} by the header, {world} by the image")
    pixels = hashlib.sha256(np.ascontiguousarray(image.array).tobytes()).hexdigest()
    return pixels, image.array.shape, str(image.array.dtype), None if world is None else world.tobytes()


def _behind_checksums(case: Case) -> Case:
    if case.format == "PNG":
        return replace(case, sealed=True, inside=(bytes, with_png_checksums))
    if case.format == "NIfTI.gz":
        return replace(case, sealed=True, inside=(gunzipped, gzipped))
    return case


def film(bits: int = 8) -> np.ndarray:
    """Return the (32, 36) pixels of a phantom."""
    return render_phantom("ceph", 0, 0, (32, 36), bits=bits)[0]


def _write_raster(path: Path) -> None:
    gray = film(16 if path.stem == "deep" else 8)
    if path.name == "stack.tif":
        written = cv2.imwritemulti(str(path), [gray, gray[::-1], gray[:, ::-1]])
    else:
        colour = np.dstack([gray, gray[::-1], gray[:, ::-1]])
        quality = dict(lossy=[cv2.IMWRITE_WEBP_QUALITY, 80], exact=[cv2.IMWRITE_WEBP_QUALITY, 101])
        image = colour if path.stem == "colour" else gray
        written = cv2.imwrite(str(path), image, quality.get(path.stem, []))
    if not written:
        raise ValueError(f"OpenCV cannot write {path}")


def _volume() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4000, (4, 6, 5)).astype(np.int16)


def _write_volume(path: Path) -> None:
    volume = _volume()
    if path.suffix == ".npy":
        np.save(path, volume)
    elif path.name.endswith((".nii", ".nii.gz")):
        write_nifti(path, volume, WORLD)
        if path.suffix == ".gz":  # nibabel writes the time
            path.write_bytes(gzipped(gunzipped(path.read_bytes())))
    else:
        write_itk(path, volume, WORLD)
        if path.stem == "packed":
            sitk = need("SimpleITK", path)
            sitk.WriteImage(sitk.ReadImage(str(path)), str(path), True)


def _dicom_cases(root: Path) -> list[Case]:
    """Write a series of slices, of which one is changed, and one slice alone."""
    pydicom = need("pydicom", root)
    write_dicom_series(root / "series", _volume(), WORLD)
    for path in (root / "series").iterdir():  # identifiers that are the same in every call
        data = pydicom.dcmread(path)
        number = f"1.2.3.{data.InstanceNumber}"
        data.SeriesInstanceUID = "1.2.3"
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = number
        data.save_as(path)
    (root / "slice").mkdir()
    (root / "slice" / "film.dcm").write_bytes((root / "series" / "00002.dcm").read_bytes())
    return [
        Case("DICOM", "slice", "film.dcm", partial(check_image, name="film.dcm")),
        Case("DICOM", "series", "00002.dcm", check_image, told="series"),
    ]
