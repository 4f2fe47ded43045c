"""AFIDs: 32 fiducials on MRI of the brain, by several raters, in the layout of BIDS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmlandmark.datasets.readers.markups import PointList
from mmlandmark.datasets.releases.slicer_markups import SlicerMarkups
from mmlandmark.registry import DATASETS


@DATASETS.register_module()
class Afids(SlicerMarkups):
    """A data set of AFIDs as released (Taha et al. 2023, doi:10.1038/s41597-023-02330-9).

    Images are ``sub-<id>/anat/sub-<id>_T1w.nii.gz``, their points
    ``derivatives/afids_groundtruth/sub-<id>/anat/sub-<id>_space-T1w_desc-groundtruth_afids.fcsv`` or, by one
    rater, ``derivatives/afids_rater/sub-<id>/anat/sub-<id>_space-T1w_desc-rater01_afids.fcsv``. Points are
    known by their labels, 1 to 32, since descriptions are spelt in many ways. A subject is a group.

    Args:
        data_root: Folder of one data set, such as ``AFIDs-OASIS``.
        annotator: ``"groundtruth"``, or a rater such as ``"rater01"``.
        image_ending: Text between the common name and the suffix of images.
        **kwargs: See :class:`~mmlandmark.datasets.releases.SlicerMarkups`.
    """

    SCHEMA = "afids"

    def __init__(
        self,
        data_root: str = "",
        *,
        annotator: str = "groundtruth",
        image_ending: str = "_T1w",
        **kwargs: Any,
    ) -> None:
        folder = "afids_groundtruth" if annotator == "groundtruth" else "afids_rater"
        defaults = dict(ann_file=f"derivatives/{folder}", markups_ending=f"_space-T1w_desc-{annotator}_afids")
        super().__init__(data_root=data_root, image_ending=image_ending, **defaults | kwargs)

    def load_records(self) -> list[dict[str, Any]]:
        """Read images and points; a sample is called like its files."""
        records = super().load_records()
        for record in records:
            subject, *_, name = Path(record["sample_id"]).parts
            record.update(sample_id=name, group=subject)
        return records

    def _names(
        self, lists: Mapping[str, PointList], files: Mapping[str, str], images: Mapping[str, str]
    ) -> tuple[str, ...]:
        return self.release_names

    def _own_names(self, points: PointList, names: Sequence[str], path: str) -> Sequence[str]:
        numbers = {str(n): name for n, name in enumerate(names, 1)}
        unknown = [label for label in points.names if label not in numbers]
        if unknown:
            raise ValueError(f"{path}: labels {unknown[:5]} are not the numbers 1 to {len(names)} of AFIDs")
        return [numbers[label] for label in points.names]
