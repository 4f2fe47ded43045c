"""Finding the file on this machine that an annotation refers to."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

from mmengine.logging import print_log

from mmlandmark.datasets.image_files import image_exists, image_stem, image_suffix
from mmlandmark.datasets.records import describe

_LONGEST = 255  # bytes that a file system allows a name


class ImageFinder:
    """Finds the images that an annotation file names, inside of the folders of the data only.

    If there is no file of that name, variants are tried that work on another machine: Windows separators; the
    last folders of a path that begins with a Windows drive or share; other case; and another image suffix, if
    exactly one such file exists. Symbolic links inside the folders are followed, since the owner of the data
    made them; ``..`` and absolute paths that lead out of the folders are refused.

    Args:
        folders: Folders with images; an empty text is the current folder.
        outside_root: Whether images may be anywhere.
    """

    def __init__(self, folders: Sequence[str], outside_root: bool = False) -> None:
        self.roots = [os.path.abspath(folder or ".") for folder in folders]
        self.outside_root = outside_root
        self.replaced: dict[str, set[str]] = defaultdict(set)  # path -> names that it was found for
        self._listings: dict[str, list[str]] = {}

    def find(self, path: str, name: str) -> str:
        """Return the path of an image or, if it does not exist, where it is expected.

        Args:
            path: Path according to the annotation: a folder joined with ``name``.
            name: Name in the annotation.

        Raises:
            ValueError: It is outside of the folders of the data, or several files match.
        """
        if "\0" in name or max(map(len, os.fsencode(name).split(b"/"))) > _LONGEST:
            raise ValueError(f"image {name!r:.80} is not a valid file name")
        plain = self._checked(path, name)
        if image_exists(plain):
            return plain
        candidates = [plain]
        if "\\" in name or PureWindowsPath(name).drive:
            parts = PureWindowsPath(name).parts
            whole = bool(PureWindowsPath(name).anchor)
            tails = [parts[start:] for start in range(1, len(parts))] if whole else [parts]
            folder = path[: len(path) - len(name)]
            candidates = [self._checked(os.path.join(folder, *tail), name) for tail in tails] or [plain]
        for candidate in candidates:
            existing = candidate if image_exists(candidate) else self._alike(candidate)
            if existing is not None:
                self.replaced[existing].add(name)
                return existing
        return candidates[-1]

    def summary(self) -> str | None:
        """Return a message about images that were found under another name; None if there are none.

        Raises:
            ValueError: One file matches several names.
        """
        for path, names in self.replaced.items():
            if len(names) > 1:
                raise ValueError(f"images {sorted(names)[:3]} do not exist; only {path!r} resembles them")
        if not self.replaced:
            return None
        path, names = next(iter(self.replaced.items()))
        count = len(self.replaced)
        return (
            f"{count} image{'s have' if count > 1 else ' has'} another name than in the annotations, "
            f"e.g. {path!r} for {next(iter(names))!r}"
        )

    def _checked(self, path: str, name: str) -> str:
        """Return a path without ``..``; ValueError if it leads out of the folders."""
        if ".." in Path(path).parts:
            path = os.path.normpath(path)
        if not self.outside_root and not self._inside(path):
            raise ValueError(
                f"image {name!r} is outside of the data folder, {self.roots[0]!r}; "
                "set outside_root=True in the dataset to allow it"
            )
        return path

    def _inside(self, path: str) -> bool:
        path = os.path.abspath(path)
        if any(_is_below(path, root) for root in self.roots):
            return True
        # The data folder may be a link, and the name may contain its target.
        return any(_is_below(os.path.realpath(path), os.path.realpath(root)) for root in self.roots)

    def _alike(self, path: str) -> str | None:
        """Return the file that differs from ``path`` only in case or image suffix; None if there is none."""
        folder, name = os.path.split(path)
        if not os.path.isdir(folder or "."):
            return None
        if folder not in self._listings:
            self._listings[folder] = sorted(os.listdir(folder or "."))
        stem = image_stem(name).lower() if image_suffix(name) else name.lower()
        same = [n for n in self._listings[folder] if n.lower() == name.lower()]
        alike = same or [
            n for n in self._listings[folder] if image_suffix(n) and image_stem(n).lower() == stem
        ]
        alike = [n for n in alike if os.path.isfile(os.path.join(folder, n))]
        if len(alike) > 1:
            raise ValueError(f"image {path!r} does not exist, and {alike} all resemble it; rename one")
        return os.path.join(folder, alike[0]) if alike else None


def _is_below(path: str, root: str) -> bool:
    return os.path.commonpath([path, root]) == root


def with_images(records: list[dict[str, Any]], title: str, drop: bool) -> list[dict[str, Any]]:
    """Return the records that have an existing image or name no image.

    Args:
        records: With ``img_path``.
        title: Name of the dataset, for messages.
        drop: Leave the others out, and log their number.

    Raises:
        FileNotFoundError: An image is missing and ``drop`` is not set, or no image exists at all.
    """
    lost = [r for r in records if r.get("img_path") is not None and not image_exists(r["img_path"])]
    if lost and not drop:
        raise FileNotFoundError(
            f"{len(lost)} of {len(records)} images do not exist, first {lost[0]['img_path']!r} "
            f"({describe(lost[0])}); check data_root and image_dir (--images of mmlandmark plan and "
            "convert), or set missing_images='drop'"
        )
    if lost:
        print_log(f"{title}: {len(lost)} of {len(records)} images do not exist, dropped", "current")
    gone = {id(r) for r in lost}
    kept = [r for r in records if id(r) not in gone]
    if not kept:
        raise FileNotFoundError(
            f"{title}: none of {len(records)} images exists, e.g. {lost[0]['img_path']!r}"
        )
    return kept
