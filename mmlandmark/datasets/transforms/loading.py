"""Reading the image of a record."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmlandmark.datasets.image_io import LoadedImage, from_array, read_image
from mmlandmark.datasets.readers.loaded_image import to_canonical
from mmlandmark.datasets.records import check_frame, describe
from mmlandmark.datasets.transforms.frame import checked_size
from mmlandmark.datasets.transforms.resampling import resize_array
from mmlandmark.registry import TRANSFORMS
from mmlandmark.structures import resize_matrix


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Read the image of a record and initialise its frame.

    The image comes from the file ``img_path``, or from the array ``img`` of a record without a file, whose
    frame is ``world_from_original``, if the record has one. ``image_source`` stands for a file that is to be
    fetched, see :class:`~mmlandmark.datasets.shards.StoredImage`. The returned array is read-only, since a
    cache may share it.

    Added keys: img, ori_shape, img_from_original, input_from_original, input_shape, spacing,
    world_from_original (stored pixels to mm; None if the file does not define it), value_range (black and
    white in values of img) and loaded_dtype.

    Args:
        size: (*S) to which the image is resized, by areas. About twice the size of the network's input keeps
            all detail under augmentation, decodes a JPEG at reduced scale, and keeps the image cache small.
            None keeps the size of the file.
        keep_aspect: Fit the image into ``size`` and keep its aspect ratio, instead of stretching it.
        channels: 1 converts colour to grey, 3 converts grey to RGB, None converts nothing.
        file_spacing: Take mm per pixel from the file if the record has no spacing. Off by default, since the
            spacing in headers of radiographs is often that of the detector, not of the anatomy.
        value_range: (black, white) of all images, in the unit of the files, e.g. (-1000, 2000) for Hounsfield
            units. None takes the range of each file: 0 and the largest value of the bits that its header
            declares, or else of its dtype.
        bits: Number of bits of the values, for files that do not declare it, e.g. 12 for 12-bit pixels in
            16-bit PNG. Images of no more bits than this, and of floats, are unaffected.
        fill_value: Replaces pixels that are NaN or infinite; None raises an error for such an image.

    Raises:
        FileNotFoundError: The image does not exist.
        ValueError: The image is broken, has pixels that are not finite, other dimensions than ``size`` or a
            shape other than that of the record; or a landmark lies far outside of it.
    """

    def __init__(
        self,
        size: Sequence[int] | None = None,
        keep_aspect: bool = False,
        channels: Literal[1, 3] | None = None,
        file_spacing: bool = False,
        value_range: Sequence[float] | None = None,
        bits: int | None = None,
        fill_value: float | None = None,
    ) -> None:
        self.size = None if size is None else checked_size(size)
        if channels not in (None, 1, 3):
            raise ValueError(f"LoadImage: channels must be 1, 3 or None, got {channels!r}")
        self.keep_aspect, self.channels, self.file_spacing = keep_aspect, channels, file_spacing
        if value_range is not None and bits is not None:
            raise ValueError("LoadImage: value_range and bits both define white; give one of them")
        if value_range is not None and not (len(value_range) == 2 and value_range[0] < value_range[1]):
            raise ValueError(f"LoadImage: value_range must be (black, white), got {value_range!r}")
        if bits is not None and not (bits == int(bits) and 1 <= bits <= 32):
            raise ValueError(f"LoadImage: bits must be an integer from 1 to 32, got {bits!r}")
        self.value_range = None if value_range is None else (float(value_range[0]), float(value_range[1]))
        self.bits, self.fill_value = bits, fill_value

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Read the image."""
        image, where = self._load(results)
        if results.get("ori_shape") is not None and tuple(results["ori_shape"]) != image.ori_shape:
            raise ValueError(
                f"{where}: the image has shape {image.ori_shape}, but its record has "
                f"{tuple(results['ori_shape'])}; the landmarks belong to another version of it"
            )
        if results.get("landmarks") is not None:
            check_frame(
                np.asarray(results["landmarks"]), image.ori_shape, describe(results), results.get("img_path")
            )
        results["img"] = self._convert(image.array, len(image.ori_shape))
        results["ori_shape"] = image.ori_shape
        results["img_from_original"] = image.img_from_original
        results["input_from_original"] = image.img_from_original
        results["input_shape"] = image.array.shape[: len(image.ori_shape)]
        results["loaded_dtype"], results["value_range"] = image.array.dtype, self.range_of(image)
        results["world_from_original"], results["window"] = image.world_from_original, image.window
        results.setdefault("spacing", None)
        if self.file_spacing and results["spacing"] is None:
            results["spacing"] = image.spacing
        return results

    def _load(self, results: dict[str, Any]) -> tuple[LoadedImage, str]:
        path, source = results.get("img_path"), results.get("image_source")
        if source is not None:
            path = source.name
        if path is None:
            where = f"record {results.get('sample_id')!r}"
            if results.get("img") is None:
                raise ValueError(f"{where} has neither an image file (img_path) nor an image (img)")
            try:
                image = from_array(
                    np.asarray(results["img"]),
                    world_from_original=results.get("world_from_original"),
                    fill_value=self.fill_value,
                )
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from error
            return self.resize(to_canonical(image), where), where
        where, cache = f"image {str(path)!r}", results.get("image_cache")
        if cache is None:
            return self._read(path, where, source), where
        variant = (self.size, self.keep_aspect, self.fill_value)
        return cache.fetch(path, variant, lambda: self._read(path, where, source)), where

    def _read(self, path: str | Path, where: str, source: Any) -> LoadedImage:
        with nullcontext(path) if source is None else source.local() as file:
            return self.resize(read_image(file, min_size=self.size, fill_value=self.fill_value), where)

    def range_of(self, image: LoadedImage) -> tuple[float, float]:
        """Return (black, white) of an image, from the options or else from its file."""
        if self.value_range is not None:
            return self.value_range
        low, high = image.value_range
        if self.bits is None or image.bits is None or image.bits <= self.bits:
            return low, high
        return low, low + (high - low) * (2.0**self.bits - 1) / (2.0**image.bits - 1)

    def resize(self, image: LoadedImage, where: str) -> LoadedImage:
        """Return the image at the requested size; ``where`` names it in errors."""
        if self.size is None:
            return image
        dims = len(image.ori_shape)
        if dims != len(self.size):
            raise ValueError(
                f"{where} has {dims} dimensions {image.ori_shape}, but LoadImage has size {self.size}"
            )
        size, old = self.size, image.array.shape[:dims]
        if self.keep_aspect:
            factor = min(new / n for new, n in zip(size, old, strict=True))
            size = tuple(max(1, round(factor * n)) for n in old)
        matrix = resize_matrix(old, size) @ image.img_from_original
        return replace(image, array=resize_array(image.array, size), img_from_original=matrix)

    def _convert(self, array: np.ndarray, dims: int) -> np.ndarray:
        if self.channels == 3 and array.ndim == dims:
            array = np.repeat(array[..., None], 3, axis=-1)
        elif self.channels == 1 and array.ndim > dims:
            shape = array.shape[:dims]
            array = cv2.cvtColor(array.reshape(shape[0], -1, 3), cv2.COLOR_RGB2GRAY).reshape(shape)
        array = array.view(np.ndarray)
        array.flags.writeable = False
        return array

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(size={self.size}, keep_aspect={self.keep_aspect}, "
            f"channels={self.channels}, file_spacing={self.file_spacing}, value_range={self.value_range}, "
            f"bits={self.bits}, fill_value={self.fill_value})"
        )
