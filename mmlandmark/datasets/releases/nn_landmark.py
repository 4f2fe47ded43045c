"""Data sets in the layout of nnLandmark, which is that of nnU-Net with JSON files of points."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.datasets.image_files import index_images
from mmlandmark.datasets.landmark_dataset import LandmarkDataset
from mmlandmark.datasets.landmark_order import in_order
from mmlandmark.datasets.readers.markups import checked_names
from mmlandmark.datasets.readers.point_files import point_of_json
from mmlandmark.datasets.records import checked_spacing
from mmlandmark.datasets.values import number_of
from mmlandmark.registry import DATASETS
from mmlandmark.structures import LandmarkSchema
from mmlandmark.utils.files import read_json
from mmlandmark.utils.near_names import did_you_mean

_SPLITS = {"train": "imagesTr", "test": "imagesTs"}
_POINTS = ("all_landmarks_voxel.json", "all_landmarks_voxel_train.json", "all_landmarks_voxel_test.json")
_SPACINGS = ("spacing.json", "spacing_train.json", "spacing_test.json")
_CHANNEL = "_0000"


@DATASETS.register_module()
class NnLandmark(LandmarkDataset):
    """A folder ``Dataset<number>_<name>`` of nnLandmark (Ertl et al. 2026, arXiv 2504.06742).

    ``imagesTr`` and ``imagesTs`` hold ``<case>_0000.nii.gz`` (or another format) and are the splits train and
    test. ``all_landmarks_voxel.json`` holds the points of every case by name, in voxels as stored; files that
    end with ``_train`` and ``_test`` instead are joined. ``name_to_label.json`` orders the names; without it,
    the order is that of the case with most points. A landmark that a case does not have is missing. mm per
    voxel is, as there, ``image_spacing`` of ``spacing.json`` or, where that is null, ``annotation_spacing``.

    Args:
        **kwargs: See :class:`~mmlandmark.datasets.LandmarkDataset`.

    Raises:
        FileNotFoundError: There are no points, or a case has no image.
        ValueError: A file is broken; the message names file and case.
    """

    def load_records(self) -> list[dict[str, Any]]:
        """Read the cases of every selected split."""
        root = Path(self.data_root)
        cases = _joined(root, _POINTS)
        if not cases:
            raise FileNotFoundError(f"{self._title()}: there is no {_POINTS[0]} in {self.data_root!r}")
        spacings = _joined(root, _SPACINGS)
        names = self._landmark_names(root, cases)
        if self._full_schema is None:
            self._full_schema = LandmarkSchema("nnlandmark", names, 3)
        images = {
            stem.removesuffix(_CHANNEL): (path, split)
            for split, folder in _SPLITS.items()
            for stem, path in index_images(root / folder).items()
        }
        records = []
        for name, (points, source) in cases.items():
            file = f"{name}{_CHANNEL}.nii.gz"
            image, split = images.get(name) or (
                self.find_image(str(root / "imagesTr" / file), file, f"{source}, {name!r}"),
                "train",
            )
            if self.wants_split(split):
                record = _record(name, points, f"{source}, {name!r}", names)
                stated, place = spacings.get(name, (None, root))
                record.update(img_path=image, split=split, spacing=_spacing(stated, place, name))
                records += in_order([record], names, self._full_schema.landmarks, str(source))
        return records

    @staticmethod
    def _landmark_names(root: Path, cases: dict[str, tuple[Any, Path]]) -> tuple[str, ...]:
        path = root / "name_to_label.json"
        if not path.is_file():
            most = max(cases.values(), key=lambda case: len(case[0]))
            return tuple(checked_names(most[0], str(most[1])))
        labels = read_json(path)
        order = {name: number_of(label, str(path), repr(name)) for name, label in labels.items()}
        names = sorted((name for name in order if name != "background"), key=lambda name: order[name])
        return tuple(checked_names(names, str(path)))


def _joined(root: Path, names: tuple[str, ...]) -> dict[str, tuple[Any, Path]]:
    """Return the entry of every case in those of some files that exist, and its file."""
    found: dict[str, tuple[Any, Path]] = {}
    for path in (root / name for name in names):
        if path.is_file():
            for case, entry in read_json(path).items():
                if not isinstance(entry, dict):
                    raise ValueError(f"{path}, {case!r}: expected an object, got {entry!r:.80}")
                found[case] = (entry, path)
    return found


def _record(name: str, points: dict[str, Any], where: str, names: tuple[str, ...]) -> dict[str, Any]:
    unknown = [key for key in points if key not in names]
    if unknown:
        raise ValueError(
            f"{where}: landmarks {unknown[:5]} have no label in name_to_label.json"
            f"{did_you_mean(unknown[:5], names)}"
        )
    marked = {key: point_of_json(value, f"{where}, {key!r}") for key, value in points.items()}
    rows = [marked.get(key, np.full(3, np.nan)) for key in names]
    if any(len(row) != 3 for row in rows):
        raise ValueError(f"{where}: points of three coordinates are needed")
    return dict(sample_id=name, landmarks=np.stack(rows), source=where)


def _spacing(given: dict[str, Any] | None, path: Path, name: str) -> Any:
    """Return the mm per voxel of a case, None if nobody states them."""
    if given is None:
        return None
    found = given.get("image_spacing")
    found = given.get("annotation_spacing") if found is None else found
    if found is not None and not isinstance(found, list | int | float):
        raise ValueError(f"{path}, {name!r}: a spacing is a list of numbers, got {found!r:.80}")
    return checked_spacing(found, 3, f"{path}, {name!r}")
