"""Which folders below one hold markups of 3D Slicer, and which their images."""

from __future__ import annotations

import os
from pathlib import Path

from mmlandmark.datasets.image_files import image_suffix
from mmlandmark.datasets.readers.dicom_series import is_series
from mmlandmark.datasets.readers.markups import SUFFIXES


def has_markups(folder: Path) -> bool:
    """Return whether there are markups anywhere below a folder."""
    return any(name.lower().endswith(SUFFIXES) for _, _, names in os.walk(folder) for name in names)


def markup_folders(folder: Path) -> tuple[Path, str]:
    """Return the folder of the markups and that of their images, relative to it.

    Markups lie beside their images, as ``a/b.mrk.json`` and ``a/b.nii.gz``; or there is a folder of images
    and one of markups, as ``images/b.nii.gz`` and ``points/b.mrk.json``. An image may be a folder of DICOM
    slices.

    Args:
        folder: There are markups somewhere below it.

    Raises:
        FileNotFoundError: No markups have an image of their name.
        ValueError: Several folders have markups of the same images.
    """
    markups, images = _stems_below(folder)
    if any(stems & images.get(place, set()) for place, stems in markups.items()):
        return folder, ""
    fitting = {}
    for place, stems in markups.items():
        best = max(images, key=lambda other: len(stems & images[other]), default=None)
        if best is not None and stems & images[best]:
            fitting[place] = best
    if len(fitting) > 1:
        named = ", ".join(str(place.relative_to(folder)) for place in fitting)
        raise ValueError(
            f"{folder}: there are markups of the same images in several folders: {named}; name one of them "
            "in place of the folder, and the folder of the images by --images"
        )
    if not fitting:
        raise FileNotFoundError(
            f"{folder}: no markups have an image of the same name ({_example(markups)}); name both alike "
            "or, if the images are elsewhere, give their folder by --images"
        )
    place, best = next(iter(fitting.items()))
    return place, os.path.relpath(best, place)


def _stems_below(folder: Path) -> tuple[dict[Path, set[str]], dict[Path, set[str]]]:
    """Return the names without suffix of markups and of images, by folder."""
    markups: dict[Path, set[str]] = {}
    images: dict[Path, set[str]] = {}
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        slices = is_series(root)
        if slices:
            images.setdefault(Path(root).parent, set()).add(os.path.basename(root))
        for name in sorted(name for name in names if not name.startswith(".")):
            suffix = max((s for s in SUFFIXES if name.lower().endswith(s)), key=len, default="")
            kind, ending = (markups, suffix) if suffix else (images, image_suffix(name))
            if ending and not (slices and kind is images):
                stems = kind.setdefault(Path(root), set())
                stems.add(name[: -len(ending)])
                if kind is images:
                    stems.add(name)  # a.png.mrk.json belongs to a.png
    return markups, images


def _example(markups: dict[Path, set[str]]) -> str:
    place, stems = next(iter(markups.items()))
    return f"such as {place / min(stems)}"
