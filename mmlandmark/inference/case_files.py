"""Names of files of one case each, such as its picture and its markups."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from mmlandmark.utils.files import safe_name

# Every file system takes these in names; SlicerMarkups finds an image by its very name.
_HARMLESS = re.compile(r"[(),;'&+=@#!$%{}\[\]^`~]")


def case_file(folder: str | Path, sample_id: str, suffix: str) -> Path:
    """Return the file of a case in a folder that has one per case; a ``/`` in an id begins a folder.

    Example:
        >>> case_file("overlays", "films/1", ".png").as_posix()
        'overlays/films/1.png'
    """
    *folders, name = map(_file_part, sample_id.split("/"))
    return Path(folder).joinpath(*folders, f"{name}{suffix}")


def _file_part(text: str) -> str:
    """Return a part of an id as a file name: unchanged wherever it can be one, as it is that of the image."""
    plain = unicodedata.normalize("NFC", _HARMLESS.sub("_", text))
    return text if safe_name(plain) == plain else safe_name(text)
