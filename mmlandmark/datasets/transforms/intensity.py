"""Intensity: transforms of pixel values, placed after ``Resample``.

They return float32 pixels, where black is 0 and white is 1. ``results["value_range"]`` holds the values of
black and white, which ``LoadImage`` takes from the file or from its options. Nothing is clipped, except where
noted. Random transforms draw from ``results["rng"]`` only.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform

from mmlandmark.datasets.transforms.frame import (
    checked_prob,
    checked_range,
    frame_size,
    happens,
    value_range,
)
from mmlandmark.registry import TRANSFORMS

UNIT = (0.0, 1.0)


def to_unit(array: np.ndarray, ends: Sequence[float] | None = None) -> np.ndarray:
    """Return float32 pixels, where black is 0 and white is 1.

    Args:
        array: (*S) or (*S, C) pixels of any integer or float dtype.
        ends: (black, white). None takes the range of a ``LoadedImage``'s array; for any other array, 0 and
            the largest value of an integer dtype, or 0 and 1 for floats.
    """
    ends = getattr(array, "value_range", None) if ends is None else ends
    low, high = range_of_dtype(array.dtype) if ends is None else ends
    array = array.astype(np.float32, copy=False).view(np.ndarray)
    if low != 0:
        array = array - np.float32(low)
    # Floats that are already in this range are returned without a copy.
    return array if high - low == 1 else array * np.float32(1.0 / (high - low))


def range_of_dtype(dtype: np.dtype) -> tuple[float, float]:
    """Return (black, white) of pixels whose file says nothing about them: 0 and the largest integer, or 1."""
    return 0.0, 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max)


def unit_pixels(results: dict[str, Any]) -> np.ndarray:
    """Return float32 pixels, where black is 0 and white is 1, and set ``value_range`` accordingly."""
    img = to_unit(results["img"], value_range(results))
    results["value_range"] = UNIT
    return img


def map_values(results: dict[str, Any], function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Apply a function of one value to unit pixels; 8-bit images use a table of 256 values."""
    img = results["img"]
    if img.dtype != np.uint8:
        return function(unit_pixels(results))
    table = to_unit(np.arange(256, dtype=np.uint8), value_range(results))
    results["value_range"] = UNIT
    return _look_up(img, function(table))


def _look_up(array: np.ndarray, table: np.ndarray) -> np.ndarray:
    flat = cv2.LUT(array.reshape(array.shape[0], -1), np.ascontiguousarray(table, dtype=np.float32))
    return flat.reshape(array.shape)


@TRANSFORMS.register_module()
class RandomGamma(BaseTransform):
    """Raise pixels to a random power; negative pixels count as 0.

    Args:
        gamma: (smallest, largest) power, uniform in its logarithm: (0.5, 2) brightens as often as it darkens.
        prob: Probability.
    """

    def __init__(self, gamma: Sequence[float] = (0.7, 1.4), prob: float = 1.0) -> None:
        self.gamma, self.prob = checked_range(gamma, "RandomGamma: gamma", low=1e-3), checked_prob(prob)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Change the pixels with probability ``prob``."""
        if happens(results, self.prob):
            power = np.float32(np.exp(results["rng"].uniform(*np.log(self.gamma))))
            results["img"] = map_values(results, lambda x: np.maximum(x, 0) ** power)
        return results


@TRANSFORMS.register_module()
class RandomBrightnessContrast(BaseTransform):
    """Scale pixels about their mean and add a constant, both at random. Nothing is clipped.

    Args:
        brightness: Largest constant that is added or subtracted, where white is 1.
        contrast: Largest relative change: the factor is drawn from [1 - contrast, 1 + contrast].
        prob: Probability.
    """

    def __init__(self, brightness: float = 0.1, contrast: float = 0.2, prob: float = 1.0) -> None:
        if brightness < 0 or not 0 <= contrast <= 1:
            raise ValueError(
                "RandomBrightnessContrast: brightness must be >= 0 and contrast in [0, 1], "
                f"got {brightness} and {contrast}"
            )
        self.brightness, self.contrast, self.prob = brightness, contrast, checked_prob(prob)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Change the pixels with probability ``prob``."""
        if happens(results, self.prob):
            offset, change = results["rng"].uniform(-1, 1, 2) * (self.brightness, self.contrast)
            img = unit_pixels(results)
            constant = offset - change * float(img.mean())
            results["img"] = img * np.float32(1 + change) + np.float32(constant)
        return results


@TRANSFORMS.register_module()
class RandomHueSaturation(BaseTransform):
    """Rotate the colours of an RGB image about the grey axis, and change their distance from it.

    Grey images are left unchanged, with one warning, however many processes load data.

    Args:
        hue: Largest rotation, as a fraction of the full circle, up to 0.5.
        saturation: Largest relative change of the distance from grey, up to 1.
        prob: Probability.
    """

    def __init__(self, hue: float = 0.05, saturation: float = 0.2, prob: float = 1.0) -> None:
        if not 0 <= hue <= 0.5 or not 0 <= saturation <= 1:
            raise ValueError(
                "RandomHueSaturation: hue must be in [0, 0.5] and saturation in [0, 1], "
                f"got {hue} and {saturation}"
            )
        self.hue, self.saturation, self.prob = hue, saturation, checked_prob(prob)
        self._warned = torch.zeros(1, dtype=torch.bool).share_memory_()

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Change the pixels with probability ``prob``."""
        img = results["img"]
        if img.ndim != len(frame_size(results, self)) + 1 or img.shape[-1] != 3:
            if not self._warned:
                self._warned.fill_(True)
                warnings.warn("RandomHueSaturation has no effect: the images are grey", stacklevel=2)
        elif happens(results, self.prob):
            turn = 2 * np.pi * results["rng"].uniform(-self.hue, self.hue)
            factor = 1 + results["rng"].uniform(-self.saturation, self.saturation)
            grey = np.full((3, 3), 1 / 3)
            around = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
            matrix = grey + factor * (np.cos(turn) * (np.eye(3) - grey) + np.sin(turn) * around)
            results["img"] = unit_pixels(results) @ matrix.T.astype(np.float32)
        return results


@TRANSFORMS.register_module()
class RandomNoise(BaseTransform):
    """Add Gaussian noise, independent in every pixel and channel.

    Args:
        std: Standard deviation, where white is 1, or its range (smallest, largest).
        prob: Probability.
    """

    def __init__(self, std: float | Sequence[float] = (0.0, 0.02), prob: float = 1.0) -> None:
        self.std, self.prob = checked_range(std, "RandomNoise: std"), checked_prob(prob)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Change the pixels with probability ``prob``."""
        if happens(results, self.prob):
            rng, img = results["rng"], unit_pixels(results)
            std = rng.uniform(*self.std)
            # OpenCV draws normal numbers several times faster than NumPy; our generator seeds it.
            cv2.setRNGSeed(int(rng.integers(2**31 - 1)))
            noise = np.empty((img.shape[0], img.size // img.shape[0]), np.float32)
            cv2.randn(noise, np.zeros(1), np.full(1, std))
            results["img"] = img + noise.reshape(img.shape)
        return results


@TRANSFORMS.register_module()
class RandomBlur(BaseTransform):
    """Blur with a Gaussian of random width, in 2D or 3D.

    Args:
        sigma: (smallest, largest) standard deviation in pixels: it models the detector, not the anatomy.
        prob: Probability.
    """

    def __init__(self, sigma: float | Sequence[float] = (0.3, 1.0), prob: float = 0.5) -> None:
        self.sigma, self.prob = checked_range(sigma, "RandomBlur: sigma", low=1e-3), checked_prob(prob)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Change the pixels with probability ``prob``."""
        dims = len(frame_size(results, self))
        if happens(results, self.prob):
            sigma = results["rng"].uniform(*self.sigma)
            results["img"] = gaussian_blur(unit_pixels(results), sigma, dims)
        return results


def gaussian_blur(array: np.ndarray, sigma: float, dims: int) -> np.ndarray:
    """Blur a (*S) or (*S, C) float array with ``dims`` spatial axes by ``sigma`` pixels."""
    if dims == 2:
        return cv2.GaussianBlur(array, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    kernel, one = (
        cv2.getGaussianKernel(2 * int(np.ceil(4 * sigma)) + 1, sigma, cv2.CV_32F),
        np.ones(1, np.float32),
    )
    for axis in range(dims):
        front = np.moveaxis(array, axis, 0)
        flat = np.ascontiguousarray(front).reshape(front.shape[0], -1)
        flat = cv2.sepFilter2D(flat, -1, one, kernel, borderType=cv2.BORDER_REFLECT)
        array = np.moveaxis(flat.reshape(front.shape), 0, axis)
    return np.ascontiguousarray(array)


@TRANSFORMS.register_module()
class CLAHE(BaseTransform):
    """Equalise the histogram locally with limited contrast, in 2D; colour images channel by channel.

    Args:
        clip_limit: Largest slope, relative to a flat histogram; larger means more contrast.
        grid: Number of tiles along each axis.
        prob: Probability.

    Raises:
        ValueError: The image is a volume.
    """

    def __init__(self, clip_limit: float = 2.0, grid: int = 8, prob: float = 1.0) -> None:
        if not clip_limit > 0 or grid != int(grid) or grid < 1:
            raise ValueError(f"CLAHE: clip_limit must be > 0 and grid >= 1, got {clip_limit!r}, {grid!r}")
        self.clip_limit, self.grid, self.prob = clip_limit, int(grid), checked_prob(prob)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Change the pixels with probability ``prob``."""
        dims = len(frame_size(results, self))
        if dims != 2:
            raise ValueError(f"CLAHE works on 2D images only, this one has {dims} dimensions")
        if happens(results, self.prob):
            img, ends = results["img"], value_range(results)
            whole = img.dtype in (np.uint8, np.uint16) and ends in (None, range_of_dtype(img.dtype))
            if not whole:  # OpenCV spreads the histogram over the whole range of the dtype.
                img = np.rint(np.clip(to_unit(img, ends), 0, 1) * 65535).astype(np.uint16)
            # Built for every image: OpenCV's object cannot be sent to a worker process.
            equaliser = cv2.createCLAHE(self.clip_limit, (self.grid, self.grid))
            planes = (
                [img] if img.ndim == 2 else [np.ascontiguousarray(img[..., c]) for c in range(img.shape[2])]
            )
            planes = [to_unit(equaliser.apply(plane)) for plane in planes]
            results["img"] = planes[0] if img.ndim == 2 else np.stack(planes, axis=-1)
            results["value_range"] = UNIT
        return results


@TRANSFORMS.register_module()
class NormalizeIntensity(BaseTransform):
    """Map pixels to a common range, from the values and in the unit of the file.

    Args:
        mode: The range that is mapped.

            - "percentile": ``low`` and ``high`` are percentiles of the image (1 and 99 by default), which
              become 0 and 1; values outside are clipped.
            - "window": the same, with ``low`` and ``high`` as values, e.g. Hounsfield units.
            - "range": smallest and largest pixel become 0 and 1.
            - "zscore": mean 0 and standard deviation 1.
        low: See ``mode``.
        high: See ``mode``.

    Raises:
        ValueError: The mode is unknown, or ``low`` and ``high`` do not fit it.
    """

    MODES = ("percentile", "window", "range", "zscore")

    def __init__(
        self,
        mode: Literal["percentile", "window", "range", "zscore"] = "percentile",
        low: float | None = None,
        high: float | None = None,
    ) -> None:
        if mode not in self.MODES:
            raise ValueError(f"NormalizeIntensity: mode must be one of {list(self.MODES)}, got {mode!r}")
        if mode == "percentile":
            low, high = 1.0 if low is None else low, 99.0 if high is None else high
            if not 0 <= low < high <= 100:
                raise ValueError(
                    f"NormalizeIntensity: percentiles must be 0 <= low < high <= 100, got {low!r}, {high!r}"
                )
        elif mode == "window":
            if low is None or high is None or not low < high:
                raise ValueError(f"NormalizeIntensity: 'window' needs low < high, got {low!r}, {high!r}")
        elif low is not None or high is not None:
            raise ValueError(f"NormalizeIntensity: mode {mode!r} takes no low and high")
        self.mode, self.low, self.high = mode, low, high

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Normalise the pixels."""
        img = results["img"]
        results["value_range"] = UNIT
        if self.mode == "zscore":
            mean, std = float(img.mean(dtype=np.float64)), float(img.std(dtype=np.float64))
            # A constant image becomes 0.
            results["img"] = (img.astype(np.float32) - np.float32(mean)) / np.float32(std or 1.0)
            return results
        low, high = self._limits(img)
        if img.dtype == np.uint8:
            results["img"] = _look_up(img, _stretch(np.arange(256, dtype=np.float32), low, high))
        else:
            results["img"] = _stretch(img.astype(np.float32), low, high)
        return results

    def _limits(self, img: np.ndarray) -> tuple[float, float]:
        if self.mode == "range":
            return float(img.min()), float(img.max())
        assert self.low is not None  # checked by __init__
        assert self.high is not None
        if self.mode == "window":
            return self.low, self.high
        low, high = np.percentile(img, (self.low, self.high))
        return float(low), float(high)


def _stretch(values: np.ndarray, low: float, high: float) -> np.ndarray:
    span = high - low
    return np.clip((values - np.float32(low)) * np.float32(1 / span if span > 0 else 1.0), 0, 1)
