"""CL-Detection 2023: 400 cephalograms of several machines in one stack, 38 landmarks, spacing per image."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.datasets.annotation_files import existing_file
from mmlandmark.datasets.image_files import read_metaimage_header
from mmlandmark.datasets.image_io import to_grey_if_equal
from mmlandmark.datasets.landmark_dataset import LandmarkDataset
from mmlandmark.datasets.values import written_number
from mmlandmark.registry import DATASETS
from mmlandmark.utils.files import load_json


@DATASETS.register_module()
class ClDetection2023(LandmarkDataset):
    """Cephalograms of CL-Detection 2023 as released: ``train_stack.mha`` and ``train-gt.json``.

    The stack is mapped into memory, and a sample reads its own slice only. All images are padded with
    zeros at the right and at the bottom to one size; the padding is stripped, which moves no landmark.
    ``sample_id`` is the number of the image in the stack, from 1, in three digits. Every image has its own
    spacing, ``scale`` in the annotation.

    Args:
        ann_file: Annotation file; "train-gt.json" unless given.
        stack_file: The stack, relative to ``data_root``. It must not be compressed.
        **kwargs: See :class:`~mmlandmark.datasets.LandmarkDataset`.
    """

    SCHEMA = "cl_detection2023"

    def __init__(
        self, ann_file: str = "train-gt.json", *args, stack_file: str = "train_stack.mha", **kwargs
    ) -> None:
        self.stack_file = stack_file
        super().__init__(ann_file, *args, **kwargs)

    def load_records(self) -> list[dict[str, Any]]:
        """Read the points of every image, and check that the stack has a slice for each."""
        path = existing_file(self.ann_file)
        data = load_json(path)
        if not isinstance(data, dict) or not isinstance(data.get("points"), list):
            raise ValueError(f"{path}: needs a list under 'points'")
        stack = Path(self.data_root, self.stack_file)
        slices = len(open_stack(stack)) if stack.is_file() else None
        images: dict[int, dict[str, Any]] = {}
        for number, point in enumerate(data["points"]):
            where = f"{path}, points[{number}]"
            try:
                name, (x, y, index), scale = str(point["name"]), point["point"], point["scale"]
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(
                    f"{where}: needs 'name', 'point' [x, y, image] and 'scale', got {point!r:.200}"
                ) from error
            x, y, index, scale = (written_number(value, where) for value in (x, y, index, scale))
            index = round(index)
            if slices is not None and not 1 <= index <= slices:
                raise ValueError(f"{where}: image {index} is not in {stack.name}, which has 1 to {slices}")
            record = images.setdefault(index, self._new_record(index, stack, scale, where))
            self._add_point(record, name, (x, y), scale, where)
        return [images[index] for index in sorted(images)]

    def _new_record(self, index: int, stack: Path, scale: float, where: str) -> dict[str, Any]:
        points = np.full((len(self.release_names), 2), math.nan, dtype=np.float32)
        return dict(
            sample_id=f"{index:03d}",
            img_path=str(stack),
            slice=index - 1,
            landmarks=points,
            spacing=scale,
            source=where,
        )

    def _add_point(
        self, record: dict[str, Any], name: str, point: tuple[float, float], scale: float, where: str
    ) -> None:
        names = self.release_names
        if name not in names:
            raise ValueError(f"{where}: landmark {name!r} is not in schema {self.SCHEMA!r}")
        row = names.index(name)
        if not np.isnan(record["landmarks"][row]).all():
            raise ValueError(f"{where}: landmark {name!r} of image {record['sample_id']} is given twice")
        if scale != record["spacing"]:
            raise ValueError(
                f"{where}: scale {scale:g} of image {record['sample_id']} was {record['spacing']:g} before"
            )
        record["landmarks"][row] = point

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """Return the record at ``idx`` with its image under ``img``, and the stack as ``stack_path``."""
        record = super().get_data_info(idx)
        record["stack_path"] = record["img_path"]
        if Path(record["stack_path"]).is_file():  # else it is kept for its annotation alone
            record["img_path"] = None  # the pipeline takes the image from memory
            record["img"] = strip_padding(np.asarray(open_stack(record["stack_path"])[record["slice"]]))
        return record


def open_stack(path: str | Path) -> np.memmap:
    """Return an uncompressed MetaImage stack of uint8 images, (N, H, W) or (N, H, W, C), mapped into memory.

    Raises:
        ValueError: The stack is compressed, in another file, of another type, or shorter than it says.
    """
    with open(path, "rb") as file:
        try:
            keys, offset = read_metaimage_header(file)
            shape = tuple(int(n) for n in keys["DimSize"].split())[::-1]
            channels = int(keys.get("ElementNumberOfChannels", "1"))
        except (KeyError, ValueError) as error:
            raise ValueError(f"{path}: the header of this stack is broken ({error})") from error
    if keys.get("CompressedData", "False").lower() == "true":
        raise ValueError(
            f"{path}: the stack is compressed, so that every sample would unpack all of it; write it again "
            "once with SimpleITK.WriteImage(SimpleITK.ReadImage(path), new_path, useCompression=False)"
        )
    if keys["ElementDataFile"] != "LOCAL" or keys.get("ElementType") != "MET_UCHAR" or len(shape) != 3:
        raise ValueError(f"{path}: expected a stack of 8-bit images in one file, got {keys}")
    shape = (*shape, channels) if channels > 1 else shape
    try:
        return np.memmap(path, dtype=np.uint8, mode="r", offset=offset, shape=shape)
    except ValueError as error:
        raise ValueError(f"{path}: the file is shorter than its header says ({error})") from error


def strip_padding(image: np.ndarray) -> np.ndarray:
    """Return (H, W) or (H, W, C) ``image`` without trailing rows and columns that are all zero.

    An image of equal channels becomes grey. An image that is all zero stays as it is.
    """
    grey = image if image.ndim == 2 else image.max(axis=2)
    rows, columns = np.flatnonzero(grey.any(axis=1)), np.flatnonzero(grey.any(axis=0))
    if len(rows):
        image = image[: rows[-1] + 1, : columns[-1] + 1]
    return to_grey_if_equal(image) if image.ndim == 3 and image.shape[2] == 3 else np.ascontiguousarray(image)
