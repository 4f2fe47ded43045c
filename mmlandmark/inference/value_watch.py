"""Images with values that a detector does not know: it answers all the same, so somebody must say it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.logging import print_log
from torch import Tensor

from mmlandmark.datasets.pixel_checks import LARGE_RANGE, SMALL_RANGE
from mmlandmark.datasets.transforms import NormalizeIntensity
from mmlandmark.inference.case_loader import Loaded

_LOOKED_AT = 2**16  # pixels, of which the darkest and brightest half a percent may be marks and metal


class ValueWatch:
    """Warns of images that are far too dark or bright for a detector, of the first one of each kind.

    Such are float images from 0 to 255, where white is 1, and 12 bits in a file of 16. A detector whose
    pipeline has a ``NormalizeIntensity`` takes any values.

    Args:
        steps: Transforms from an image to the network's input.
    """

    def __init__(self, steps: Sequence[Any]) -> None:
        self.any_values = any(isinstance(step, NormalizeIntensity) for step in steps)
        self._told: set[str] = set()

    def look(self, loaded: Loaded) -> None:
        """Look at an image, and warn if it is the first odd one of its kind."""
        if self.any_values:
            return
        kind, words = odd_values(loaded.inputs, loaded.sample.value_range)
        if kind and kind not in self._told:
            self._told.add(kind)
            name = loaded.sample.get("img_path") or loaded.sample.sample_id
            print_log(
                f"image {name!r}: {words} (logged once; further images may be alike)",
                "current",
                logging.WARNING,
            )


def odd_values(inputs: Tensor, value_range: Sequence[float]) -> tuple[str, str]:
    """Return what is odd about the values of an input, and what to do; both empty if nothing is.

    Args:
        inputs: (C, *S) pixels.
        value_range: (black, white) in these values.
    """
    black, white = value_range
    pixels = inputs.reshape(-1)
    some = pixels[:: max(1, len(pixels) // _LOOKED_AT)].double().numpy()
    low, high = (float(value) for value in np.percentile(some, (0.5, 99.5)))
    small, large = (share * (white - black) for share in (SMALL_RANGE, LARGE_RANGE))
    if min(high, white) - max(low, black) > small and high - low <= large:
        return "", ""
    if low == high and black <= low <= white:
        return "empty", f"nearly all of its pixels are {low:g}, so there is nothing to see"
    if high - low > large:
        seen = "far too bright"
    elif high <= black + small:
        seen = "almost black"
    else:
        seen = "almost white" if low >= white - small else "almost of one grey"
    return seen, (
        f"its values lie from {low:g} to {high:g}, but this detector takes {black:g} for black and {white:g} "
        f"for white, so it is {seen}: unless the images of the training were alike, scale its values to this "
        "range"
    )
