"""Packing of the results into tensors and a data sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform

from mmlandmark.datasets.transforms.frame import frame_size, value_range
from mmlandmark.datasets.transforms.intensity import range_of_dtype
from mmlandmark.registry import TRANSFORMS
from mmlandmark.structures import LandmarkDataSample


@TRANSFORMS.register_module()
class PackInputs(BaseTransform):
    """Pack the results into an input tensor and a ``LandmarkDataSample``.

    The tensor keeps the dtype of the image: one of 8 or 16 bits travels to the device as it is, where the
    model's preprocessor makes floats of it, black 0 and white 1 by the sample's ``value_range``; see
    :meth:`~mmlandmark.structures.LandmarkDataSample.unit_pixels`. A record without ``landmarks``, such as
    that of a new image, gives a sample without annotation.

    Args:
        meta_keys: Further entries of the record to copy into the sample, if present.

    Raises:
        ValueError: A geometric step is not followed by a ``Resample``; or landmarks, weights or spacing are
            wrong. The message names the sample.
    """

    def __init__(self, meta_keys: Sequence[str] = ("group",)) -> None:
        self.meta_keys = tuple(meta_keys)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Return ``dict(inputs, data_samples)``: a (C, *S) tensor and a ``LandmarkDataSample``."""
        size, img, name = frame_size(results, self), results["img"], results["sample_id"]
        dims = len(size)
        moved = results["img_from_original"] is not results["input_from_original"] and not np.array_equal(
            results["img_from_original"], results["input_from_original"]
        )
        if moved or results.get("elastic") or img.shape[:dims] != size:
            raise ValueError(
                f"{name}: the frame was moved but its pixels were not read; put Resample before PackInputs"
            )
        ends = value_range(results) or range_of_dtype(img.dtype)
        img = img[None] if img.ndim == dims else np.moveaxis(img, -1, 0)
        inputs = np.ascontiguousarray(img)
        # An image that no step has changed still belongs to the cache.
        inputs = inputs if inputs.flags.writeable else inputs.copy()
        meta = {key: results[key] for key in self.meta_keys if key in results}
        if results.get("mirrored"):
            meta["mirrored"] = True
        sample = LandmarkDataSample.from_landmarks(
            results.get("landmarks"),
            sample_id=name,
            ori_shape=results["ori_shape"],
            visibility=results.get("visibility"),
            weights=results.get("weights"),
            by_annotator=results.get("by_annotator"),
            spacing=results.get("spacing"),
            world_from_original=results.get("world_from_original"),
            input_from_original=results["input_from_original"],
            input_shape=size,
            img_path=results.get("img_path"),
            value_range=ends,
            flip_pairs=tuple(tuple(pair) for pair in results.get("flip_pairs") or ()),
            **meta,
        )
        return dict(inputs=torch.from_numpy(inputs), data_samples=sample)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(meta_keys={self.meta_keys})"
