"""How many pixels the header of a file may claim: checked before memory is reserved for them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence

VARIABLE = "MMLANDMARK_MAX_PIXELS"
MAX_PIXELS = 2**31  # a volume of 1,290 voxels a side
# Bytes that one byte of a file may unpack to: 1,032 by Deflate, more by JPEG and others.
MAX_RATIO = 4096
SMALL = 2**26  # bytes that any file may unpack to


class TooLarge(ValueError):
    """A header claims more pixels than are allowed, or than the file can hold."""


def allowed_pixels() -> int | None:
    """Return how many pixels the user allows an image; None if the user says nothing.

    Raises:
        ValueError: The variable is not a whole number.
    """
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return None
    if not re.fullmatch(r"[1-9][\d_]*", text):
        raise ValueError(f"{VARIABLE}={text!r:.80} in the environment is not a number of pixels")
    return int(text)


def check_claim(shape: Sequence[int], itemsize: int, held: int | None, packed: bool = True) -> None:
    """Refuse an image that claims too many pixels.

    Without a word of the user, an image has at most :data:`MAX_PIXELS`, and more than 64 MiB only in a file
    that can hold them. ``MMLANDMARK_MAX_PIXELS`` in the environment replaces both.

    Args:
        shape: (*S) by the header.
        itemsize: Bytes of a value.
        held: Bytes of the file, or of all files of a volume; None if they are not known.
        packed: Whether the pixels may be compressed.

    Raises:
        TooLarge: The message says how to allow it.
    """
    pixels, allowed = math.prod(int(side) for side in shape), allowed_pixels()
    sides = " x ".join(f"{side:,}" for side in shape)
    allow = f"if that is right, set {VARIABLE}={pixels} in the environment"
    if pixels > (MAX_PIXELS if allowed is None else allowed):
        raise TooLarge(
            f"its header claims {sides} pixels, more than the {allowed or MAX_PIXELS:,} allowed: {allow}"
        )
    size = pixels * itemsize
    if held is not None and allowed is None and size > max(SMALL, held * (MAX_RATIO if packed else 1)):
        raise TooLarge(
            f"its header claims {sides} pixels of {size:,} bytes, which a file of {held:,} bytes cannot "
            f"hold, so it is cut off or damaged: {allow}"
        )
