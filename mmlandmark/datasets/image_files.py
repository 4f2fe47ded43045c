"""Finding images in folders, and reading their headers without decoding them."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from mmlandmark.datasets.image_io import read_image
from mmlandmark.datasets.readers.dicom import dicom_frame, dicom_header
from mmlandmark.datasets.readers.dicom_series import find_series, has_slices, is_series
from mmlandmark.datasets.readers.file_format import SUFFIXES, FileFormat, file_format, suffix_of
from mmlandmark.datasets.readers.headers import HEADERS
from mmlandmark.datasets.readers.loaded_image import Stored, UnsupportedShape
from mmlandmark.datasets.readers.nifti import nifti_frame
from mmlandmark.datasets.readers.tiff_stack import tiff_frame
from mmlandmark.datasets.readers.volume import pixel_files, read_metaimage_header, sitk_frame
from mmlandmark.structures import first_slice, spacing_of
from mmlandmark.utils.bounded_reading import BoundedFile
from mmlandmark.utils.result_folders import result_folders
from mmlandmark.utils.sentences import reason_of

__all__ = [
    "IMAGE_SUFFIXES",
    "ImageHeader",
    "child_ignoring_case",
    "ids_of_images",
    "image_exists",
    "image_frame",
    "image_header",
    "image_parts",
    "image_shape",
    "image_stem",
    "image_suffix",
    "images_below",
    "index_images",
    "read_metaimage_header",
    "stem_of",
]

# Names of DICOM files are often none, or end with the number of their instance.
_NO_SUFFIX = re.compile(r"(\.\d+)?")
# In order of preference, for an image that exists in several formats.
IMAGE_SUFFIXES = (
    ".png", ".bmp", ".tif", ".tiff", ".mha", ".mhd", ".nrrd", ".nhdr", ".nii", ".nii.gz", ".dcm", ".npy",
    ".jpg", ".jpeg",
)  # fmt: skip


def image_suffix(name: str | Path) -> str:
    """Return the image suffix of a file name in lower case, ``""`` if it has none."""
    lower = Path(name).name.lower()
    return max((s for s in IMAGE_SUFFIXES if lower.endswith(s)), key=len, default="")


def image_stem(name: str | Path) -> str:
    """Return the file name without folder and image suffix."""
    base = Path(name).name
    return base[: len(base) - len(image_suffix(base))]


def stem_of(image: str) -> str:
    """Return the file name of an image without folders, of any system, and suffix.

    ``.nii.gz`` is one suffix, and a number is none: DICOM files are called by numbers with dots.

    Example:
        >>> stem_of("films/1.png"), stem_of("heads/1_T1w.nii.gz"), stem_of("films/1.2.840.10008.7")
        ('1', '1_T1w', '1.2.840.10008.7')
    """
    path = Path(image.replace("\\", "/"))
    if image_suffix(path):
        return image_stem(path)
    return path.name if _NO_SUFFIX.fullmatch(path.suffix) else path.stem


def ids_of_images(images: Iterable[str], stem: Callable[[str], str] = stem_of) -> dict[str, str]:
    """Return the ids of images that an annotation file names: their stems.

    Images of one name in several folders have the folders in their ids.

    Args:
        images: As the file names them; empty names are left out.
        stem: Returns the name without folders and suffix.

    Example:
        >>> ids_of_images(["p1/lat.png", "p2/lat.png", "p2/front.png"])
        {'p1/lat.png': 'p1/lat', 'p2/lat.png': 'p2/lat', 'p2/front.png': 'front'}
    """
    paths = {image: PurePosixPath(image.replace("\\", "/")) for image in images if image}
    stems = {image: stem(path.name) for image, path in paths.items()}
    count = Counter(stems.values())
    return {
        image: name if count[name] == 1 else str(paths[image].with_name(name))
        for image, name in stems.items()
    }


def index_images(folder: str | Path) -> dict[str, str]:
    """Return the images anywhere below ``folder`` as {stem: path}; lossless formats come before JPEG.

    A folder of DICOM slices is one image, of the name of the folder.
    """
    paths: dict[str, str] = {}
    for root, folders, files in os.walk(folder):
        folders.sort()
        if root != os.fspath(folder) and is_series(root):
            paths.setdefault(os.path.basename(root), root)
            files = []
        for name in sorted(files):
            suffix = image_suffix(name)
            if not suffix or name.startswith("."):
                continue
            stem = image_stem(name)
            other = paths.get(stem)
            if other is None or _rank(suffix) < _rank(image_suffix(other)):
                paths[stem] = os.path.join(root, name)
    return paths


def images_below(folder: str | Path) -> Iterator[tuple[str, str]]:
    """Yield path and relative name of every image anywhere below a folder, in the order of the names.

    Hidden files and folders, and files that are no images by name, are left out, and so are the pictures of
    predictions and trainings, see :func:`~mmlandmark.utils.result_folders.result_folders`; DICOM files need
    no suffix, and a folder of DICOM slices is one image.

    Args:
        folder: Where to look.
    """
    for root, folders, files in os.walk(folder):
        hidden = result_folders(files)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in hidden)
        for name in [name for name in folders if is_series(os.path.join(root, name))]:
            folders.remove(name)
            path = os.path.join(root, name)
            yield os.path.abspath(path), os.path.relpath(path, folder)
        for name in sorted(files):
            path = os.path.join(root, name)
            if not name.startswith(".") and _is_image(path):
                yield os.path.abspath(path), os.path.relpath(path, folder)


def _is_image(path: str) -> bool:
    """Whether a file of a folder is meant as an image: by its suffix or, without one, as DICOM."""
    suffix = suffix_of(path)
    if suffix in SUFFIXES:
        return True
    name = os.path.basename(path)
    if not _NO_SUFFIX.fullmatch(suffix) or name.upper() == "DICOMDIR":  # the index of a medium
        return False
    try:
        return file_format(path) == "dicom"
    except OSError:  # it cannot be read, so nothing says that it is an image
        return False


def _rank(suffix: str) -> int:
    return IMAGE_SUFFIXES.index(suffix)


def child_ignoring_case(folder: str | Path, *names: str) -> Path | None:
    """Return the entry of ``folder`` called like one of ``names``, whatever its case, or None."""
    wanted = {name.lower() for name in names}
    if not Path(folder).is_dir():
        return None
    return next((p for p in sorted(Path(folder).iterdir()) if p.name.lower() in wanted), None)


@dataclass(frozen=True, eq=False)
class ImageHeader:
    """What the header of an image says.

    Attributes:
        shape: (*S) as stored.
        world_from_original: (W+1, D+1) from pixels, as stored, to mm; None if the file does not define it.
        dtype: Type of one value as stored, before any rescaling; None if the header does not say it.
        assumed: What the matrix takes for granted, to follow the name of the file in a sentence; ``""`` if
            the file states all of it.
    """

    shape: tuple[int, ...]
    world_from_original: np.ndarray | None
    dtype: np.dtype | None
    assumed: str = ""

    @property
    def spacing(self) -> tuple[float, ...] | None:
        """(D,) mm per stored pixel, (x, y[, z]); None if the file does not define it."""
        return None if self.world_from_original is None else spacing_of(self.world_from_original)


def image_header(path: str | Path) -> ImageHeader:
    """Return size, frame and type of the pixels of an image, without decoding them.

    The format is that of the content, whatever the file is called. PNG, JPEG, BMP, TIFF, MetaImage, NRRD,
    NIfTI, DICOM and npy headers are read; any other format is decoded. Orientation tags are not applied. A
    leading axis of length one (a volume of one slice) is dropped. The frame is ``world_from_original`` of
    :func:`~mmlandmark.datasets.image_io.read_image`. A folder of DICOM slices is a volume, too.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The header is broken, or slices make no volume; the message names the file.
        ImportError: The package that reads this format is missing.
    """
    path = Path(path)
    if path.is_dir():
        series = find_series(path)
        return ImageHeader(series.stored.shape, series.world_from_original, series.stored.dtype)
    stored, kind = _stored(path)
    world, assumed = None, ""
    try:
        if kind == "nifti":
            world, assumed = nifti_frame(path)
        elif kind in _FRAMES:
            world = _FRAMES[kind](path)
    except ImportError:
        raise
    except Exception as error:  # Every library has errors of its own; all of them mean a broken header.
        raise ValueError(f"{path}: the header of this {kind} file is broken ({reason_of(error)})") from error
    dims = len(stored.shape)
    if world is not None and world.shape[1] > dims + 1:
        world = first_slice(world)
    return ImageHeader(stored.shape, world, stored.dtype, assumed)


def image_exists(path: str | Path) -> bool:
    """Return whether a path is that of an image: a file, or a folder of DICOM slices."""
    return os.path.isfile(path) or has_slices(path)


def image_parts(path: str | Path) -> list[str]:
    """Return the files that hold an image: one; or a header and those of its pixels; or all of a folder.

    The header of a MetaImage (``.mhd``) or NRRD (``.nhdr``) says nothing about pixels in another file: two
    images may have the same header, and one may change while its header stays. Of a broken header, only that
    file is returned; what is wrong is said when it is read.

    Raises:
        FileNotFoundError: There is nothing at this path.
    """
    if os.path.isdir(path):
        return sorted(one.path for one in os.scandir(path) if one.is_file() and not one.name.startswith("."))
    kind, pixels = file_format(path), list[Path]()
    if kind in ("metaimage", "nrrd"):
        try:
            pixels = pixel_files(Path(path), kind == "metaimage")
        except ValueError:
            pixels = []
    return [os.fspath(path), *(os.fspath(file) for file in pixels if file.is_file())]


def image_shape(path: str | Path) -> tuple[int, ...]:
    """Return the size (*S) of an image as it is stored, in array order; see :func:`image_header`.

    No optional package is needed, except for DICOM.
    """
    path = Path(path)
    return image_header(path).shape if path.is_dir() else _stored(path)[0].shape


def image_frame(path: str | Path) -> np.ndarray | None:
    """Return the (W+1, D+1) matrix from pixels, as they are stored, to mm; see :func:`image_header`."""
    return image_header(path).world_from_original


def _stored(path: Path) -> tuple[Stored, FileFormat]:
    """Return size and type of the pixels of an image, and its format."""
    if not path.is_file():
        raise FileNotFoundError(f"image {str(path)!r} does not exist")
    if not path.stat().st_size:
        raise ValueError(f"{path}: the file is empty")
    kind, suffix = file_format(path), suffix_of(path)
    if kind == "unknown" and suffix not in SUFFIXES:
        return _decoded(path), kind
    try:
        if kind == "dicom":
            stored = dicom_header(path)
        elif kind in HEADERS:
            with BoundedFile(path) as file:
                stored = HEADERS[kind](file)
        elif kind == "unknown":
            raise ValueError("the content has no known format")
        else:
            stored = _decoded(path)
    except ImportError:
        raise
    except UnsupportedShape as error:
        raise ValueError(f"{path}: {error}") from error
    except Exception as error:  # Every library has errors of its own; all of them mean a broken header.
        raise ValueError(
            f"{path}: the header of this {suffix or kind} file is broken ({reason_of(error)})"
        ) from error
    if not stored.shape or min(stored.shape) <= 0:
        raise ValueError(f"{path}: the header of this {suffix or kind} file states {stored.shape}")
    return stored, kind


def _decoded(path: Path) -> Stored:
    image = read_image(path)
    return Stored(image.ori_shape, image.array.dtype)


_FRAMES: dict[str, Callable[[Path], np.ndarray | None]] = {
    "dicom": dicom_frame,
    "tiff": tiff_frame,
    "metaimage": partial(sitk_frame, io="MetaImageIO"),
    "nrrd": partial(sitk_frame, io="NrrdImageIO"),
}
