"""Mandibular molars (MML): 14 landmarks, some of them absent, on CT volumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.datasets.landmark_dataset import LandmarkDataset
from mmlandmark.datasets.readers.volume import npy_array
from mmlandmark.datasets.records import checked_spacing
from mmlandmark.registry import DATASETS
from mmlandmark.utils.sentences import reason_of

_VOLUME, _POINTS, _SPACING = "_volume.nrrd", "_label.npy", "_spacing.npy"


@DATASETS.register_module()
class MandibularMolars(LandmarkDataset):
    """CT volumes of mandibular molars as released with the code of He et al., github.com/ithet1007/mmld_code.

    Below ``data_root``, ``train``, ``val`` and ``test`` hold ``<id>_volume.nrrd``, ``<id>_label.npy`` (points
    in voxels, x, y, z) and ``<id>_spacing.npy`` (mm per voxel). Landmarks with coordinates that are not
    positive are absent: a molar that the patient does not have. The release does not name the landmarks.

    Args:
        **kwargs: See :class:`~mmlandmark.datasets.LandmarkDataset`.

    Raises:
        FileNotFoundError: There is no volume, or one without points or spacing.
        ValueError: A file of points or spacing is broken.
    """

    def load_records(self) -> list[dict[str, Any]]:
        """Read the cases of every selected split, sorted by name."""
        records = []
        for split in ("train", "val", "test"):
            if self.wants_split(split):
                volumes = sorted(Path(self.data_root, split).glob(f"*{_VOLUME}"))
                records += [self._record(path, split) for path in volumes]
        if not records:
            raise FileNotFoundError(
                f"{self._title()}: no *{_VOLUME} in train, val or test of {self.data_root!r}"
            )
        return records

    @staticmethod
    def _record(volume: Path, split: str) -> dict[str, Any]:
        name = volume.name.removesuffix(_VOLUME)
        files = [volume.with_name(name + ending) for ending in (_POINTS, _SPACING)]
        points, spacing = (_array(path) for path in files)
        if points.ndim != 2 or points.shape[1] != 3:
            raise ValueError(f"{files[0]}: expected points of three coordinates, got shape {points.shape}")
        absent = points.mean(axis=1) <= 0  # a very small number stands for a landmark that does not exist
        return dict(
            sample_id=name,
            img_path=str(volume),
            landmarks=np.where(absent[:, None], np.nan, points),
            visibility=np.where(absent, -1, 1),
            spacing=checked_spacing(spacing.ravel().tolist(), 3, str(files[1])),
            split=split,
            source=str(files[0]),
        )


def _array(path: Path) -> np.ndarray:
    """Return the numbers of a file of NumPy.

    Raises:
        FileNotFoundError: It does not exist.
        ValueError: It holds no finite numbers.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: the file that belongs to this volume does not exist")
    try:
        array = npy_array(path).astype(np.float64)
    except Exception as error:  # NumPy evaluates the header, which fails in many ways
        raise ValueError(f"{path}: this is no array of numbers ({reason_of(error)})") from error
    if not np.isfinite(array).all():
        raise ValueError(f"{path}: some numbers are not finite")
    return array
