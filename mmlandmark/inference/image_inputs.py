"""What is to be predicted: files, patterns, folders and arrays become cases with unique names."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from mmlandmark.datasets.image_files import images_below
from mmlandmark.datasets.readers.dicom_series import is_series
from mmlandmark.datasets.readers.file_format import SUFFIXES, suffix_of
from mmlandmark.datasets.shards import StoredImage
from mmlandmark.datasets.values import id_of_name

Inputs: TypeAlias = "str | Path | np.ndarray | Sequence[str | Path | np.ndarray]"

_Key: TypeAlias = "str | int"  # the path of a file, the number of an array


@dataclass(frozen=True, eq=False)
class Case:
    """An image that is to be predicted.

    Attributes:
        sample_id: Its name, unique among its set.
        image: Its file, an absolute path; None for an array.
        array: (*S) or (*S, C) pixels of an image without a file.
        source: Where an image without a file is fetched from.
        spacing: (D,) mm per pixel, where its file does not say it.
    """

    sample_id: str
    image: str | None = None
    array: np.ndarray | None = None
    source: StoredImage | None = None
    spacing: tuple[float, ...] | None = None


def find_cases(inputs: Inputs, *, taken: Mapping[str, str] | None = None) -> list[Case]:
    """Return the images of all inputs, each once, in the order of the inputs.

    A folder stands for all images anywhere below it, in the order of their paths; hidden files, and files
    that are no images by name, are left out, and so are pictures of predictions and trainings, but DICOM
    files need no suffix. A file that is named is never left out. A folder of DICOM slices is one image.

    A case is named by the path of its file below the folder that was given, without suffix; a file that was
    given itself by its name. Names that meet are told apart by their suffix, or else by the folders above; a
    name keeps no control letters and no blanks at its ends, and files whose names differ in nothing else get
    a hash of them.

    Args:
        inputs: One or several of: a file, a pattern such as ``films/*.png`` (``**`` stands for any folders),
            a folder, an array (*S) or (*S, C).
        taken: Names that other images have already: the path by name. These images keep them.

    Raises:
        FileNotFoundError: There is no such file or folder, a pattern matches nothing, or a folder holds no
            image.
        ValueError: There is no input.
    """
    given = [inputs] if isinstance(inputs, str | Path | np.ndarray) else list(inputs)
    arrays: list[np.ndarray] = []
    files: dict[str, str] = {}  # the path, and its name below the folder that was given
    order: list[_Key] = []
    for item in given:
        if isinstance(item, np.ndarray):
            order.append(len(arrays))
            arrays.append(item)
            continue
        for path, name in _files_of(item):
            if path not in files:
                files[path] = name
                order.append(path)
    if not order:
        raise ValueError("there is nothing to predict: give files, folders, patterns or arrays")
    digits = len(str(len(arrays)))
    choices: dict[_Key, list[str]] = {
        key: [f"array_{key + 1:0{digits}d}"] if isinstance(key, int) else _names(key, files[key])
        for key in order
    }
    ids = _unique_names(choices, taken or {})
    return [
        Case(ids[key], array=arrays[key]) if isinstance(key, int) else Case(ids[key], key) for key in order
    ]


def _files_of(item: str | Path) -> Iterator[tuple[str, str]]:
    """Yield the absolute path of every image of an input, and its name below the input."""
    text = os.path.expanduser(os.fspath(item))
    if is_series(text):
        yield os.path.abspath(text), os.path.basename(os.path.abspath(text))
    elif os.path.isdir(text):
        found = list(images_below(text))
        if not found:
            raise FileNotFoundError(
                f"{text!r} holds no image: none of its files has the suffix of one or is a DICOM file"
            )
        yield from found
    elif os.path.exists(text):  # also a name that looks like a pattern
        yield os.path.abspath(text), os.path.basename(text)
    elif glob.has_magic(text):
        matches = sorted(glob.glob(text, recursive=True))
        files = [match for match in matches if os.path.isfile(match)]
        folders = [match for match in matches if os.path.isdir(match) and (not files or is_series(match))]
        files = [match for match in files if os.path.dirname(match) not in folders]
        if not files and not folders:
            raise FileNotFoundError(f"no file matches {text!r}")
        for match in files:
            yield os.path.abspath(match), os.path.basename(match)
        for match in folders:
            yield from _files_of(match)
    else:
        raise FileNotFoundError(f"{text!r} does not exist: give image files, folders or patterns")


def _unique_names(choices: Mapping[_Key, Sequence[str]], taken: Mapping[str, str]) -> dict[_Key, str]:
    """Return a unique name for every image, the first of its choices that no other one has.

    An image that has a name already keeps it. It makes others move all the same, so that these get the names
    that they would have got beside it.
    """
    step = dict.fromkeys(choices, 0)
    while True:
        names = {key: choices[key][step[key]] for key in choices}
        owners: dict[str, list[_Key]] = {}
        for key, name in names.items():
            owners.setdefault(name, []).append(key)
        clashing = [
            key
            for name, keys in owners.items()
            for key in keys
            if len(keys) > 1 or taken.get(name, key) != key
        ]
        moved = [key for key in clashing if step[key] + 1 < len(choices[key])]
        if not moved:
            break
        for key in moved:
            step[key] += 1
    kept: dict[_Key, str] = {path: name for name, path in taken.items() if path in choices}
    return kept | _numbered({key: name for key, name in names.items() if key not in kept}, taken)


def _numbered(names: Mapping[_Key, str], taken: Mapping[str, str]) -> dict[_Key, str]:
    """Return names with a number behind those that are there already."""
    used, unique = set(taken), {}
    for key, name in names.items():
        number, candidate = 1, name
        while candidate in used or (number > 1 and candidate in names.values()):
            number += 1
            candidate = f"{name}~{number}"
        used.add(candidate)
        unique[key] = candidate
    return unique


def _names(path: str, name: str) -> list[str]:
    """Return what a file may be called, the shortest first; the last one is its path."""
    folder = Path(path).parts[: -len(Path(name).parts)]
    choices = []
    for count in range(len(folder) + 1):
        above = folder[len(folder) - count :]
        full = Path(*above, name)
        stem = full.with_name(_stem(full.name)).as_posix()
        choices.append(_plain(stem))
        if choices[-1] != stem:  # another name may have become the same
            choices.append(f"{choices[-1]}~{hashlib.sha256(os.fsencode(path)).hexdigest()[:10]}")
        choices.append(_plain(full.as_posix()))
    return choices


def _stem(name: str) -> str:
    """Return a file name without the suffix of an image; the numbers of DICOM files end with none."""
    suffix = suffix_of(name)
    return name[: -len(suffix)] if suffix in SUFFIXES and len(suffix) < len(name) else name


def _plain(name: str) -> str:
    """Return a name without what a text file or a list of ids cannot hold."""
    return id_of_name(os.fsencode(name).decode("utf-8", "replace"))
