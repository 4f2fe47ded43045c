"""Arguments of datasets that are one of a few words."""

from __future__ import annotations

from typing import Literal

from mmlandmark.datasets.frame_fit import COORDINATES

MissingImages = Literal["raise", "drop", "keep"]
OnError = Literal["raise", "skip"]


def check_choices(missing_images: str, coordinates: str | None, on_error: str, test_mode: bool) -> None:
    """Refuse a word that is none of those that an argument of a dataset may be.

    Raises:
        ValueError: One is another word, or a test shall leave out what cannot be read.
    """
    if missing_images not in ("raise", "drop", "keep"):
        raise ValueError(f"missing_images must be 'raise', 'drop' or 'keep', got {missing_images!r}")
    if coordinates not in (None, *COORDINATES):
        raise ValueError(f"coordinates must be one of {COORDINATES} or None, got {coordinates!r}")
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
    if on_error == "skip" and test_mode:
        raise ValueError("on_error='skip' is for training: a test measures all of its images, or none")
