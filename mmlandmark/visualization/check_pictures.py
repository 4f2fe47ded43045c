"""Pictures for the report of a dataset check: the worst findings, and samples of every split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.datasets.check_cases import Finding
from mmlandmark.datasets.image_io import LoadedImage, image_of_record
from mmlandmark.datasets.landmark_dataset import LandmarkDataset
from mmlandmark.structures import apply_matrix, world_from_image
from mmlandmark.utils.files import safe_name
from mmlandmark.visualization.overlay import draw_landmarks
from mmlandmark.visualization.pen import MANY
from mmlandmark.visualization.sheets import contact_sheet
from mmlandmark.visualization.style import save_image
from mmlandmark.visualization.volume_picture import VolumePicture

_SIDE = 400
_PER_KIND = 4
_SHEET = 6  # images of a split


@dataclass
class CheckPictures:
    """Paths of the pictures of a report, relative to it.

    Attributes:
        samples: Path by (split, sample id).
        sheets: Path by split: a few of its images with all their points.
    """

    samples: dict[tuple[str, str], str] = field(default_factory=dict)
    sheets: dict[str, str] = field(default_factory=dict)


class SeenVolumes:
    """Pictures of volumes, drawn while a check decodes them.

    Args:
        datasets: The checked datasets, by the name of the split.
        limit: Maximum number of samples with findings to draw.

    Attributes:
        pictures: By (split, index, whether it is of a finding).
    """

    def __init__(self, datasets: Mapping[str, LandmarkDataset], limit: int = 24) -> None:
        self.datasets, self.limit = datasets, limit
        self.pictures: dict[tuple[str, int, bool], np.ndarray] = {}
        self._wanted: dict[tuple[str, str], list[int]] | None = None

    def see(self, split: str, index: int, image: LoadedImage, findings: Sequence[Finding]) -> None:
        """Draw a volume if the report will show it; see :func:`~mmlandmark.datasets.checks.check_dataset`."""
        known = [asdict(finding) for finding in findings]
        if self._wanted is None:
            self._wanted = _worst(known, self.limit)
        dataset = self.datasets[split]
        record = LandmarkDataset.get_data_info(dataset, index)
        sample = record["sample_id"]
        if index in _on_sheet(dataset):
            caption = f"{sample} ({split})"
            self.pictures[split, index, False] = draw_sample(dataset, record, image, caption, None)
        if (split, sample) in self._wanted:
            caption, questioned = _caption(known, split, sample), self._wanted[split, sample]
            self.pictures[split, index, True] = draw_sample(dataset, record, image, caption, questioned)


def draw_check_pictures(
    datasets: Mapping[str, LandmarkDataset],
    report: dict[str, Any],
    folder: str | Path,
    limit: int = 24,
    seen: SeenVolumes | None = None,
) -> CheckPictures:
    """Draw the worst samples of every kind of finding, and a contact sheet of every split.

    Args:
        datasets: The checked datasets, by the name of the split.
        report: Result of :func:`~mmlandmark.datasets.checks.check_dataset`.
        folder: Folder of the report; pictures are written to its subfolder ``pictures``.
        limit: Maximum number of samples to draw.
        seen: What was drawn during the check; a volume is decoded again only if it is not among that.
    """
    folder, drawn = Path(folder), CheckPictures()
    known = {} if seen is None else seen.pictures
    for split, dataset in datasets.items():
        sheet = _sheet(split, dataset, known)
        if sheet is not None:
            drawn.sheets[split] = _save(sheet, folder, f"points of {split}")
    wanted = _worst(report["findings"], limit)
    for split, dataset in datasets.items():
        places = {sample for name, sample in wanted if name == split}
        for index in range(len(dataset)) if places else ():
            sample = LandmarkDataset.get_data_info(dataset, index)["sample_id"]
            if sample not in places:
                continue
            picture = known.get((split, index, True))
            if picture is None:
                caption = _caption(report["findings"], split, sample)
                picture = _draw(dataset, index, caption, wanted[split, sample])
            if picture is not None:
                drawn.samples[split, sample] = _save(picture, folder, f"{split} {sample}")
    return drawn


def _caption(findings: list[dict[str, Any]], split: str, sample: str) -> str:
    checks = dict.fromkeys(f["check"] for f in findings if (f["split"], f["sample_id"]) == (split, sample))
    return f"{sample} ({split}): {', '.join(checks)}"


def _worst(findings: list[dict[str, Any]], limit: int) -> dict[tuple[str, str], list[int]]:
    """Return the samples to draw with their questionable landmarks; the worst of every kind come first."""
    ranks: dict[str, int] = {}
    ranked = []
    for finding in findings:
        if finding["sample_id"] and finding["check"] != "broken image":
            ranks[finding["check"]] = rank = ranks.get(finding["check"], -1) + 1
            ranked.append((rank, (finding["split"], finding["sample_id"])))
    first = [place for rank, place in sorted(ranked, key=lambda item: item[0]) if rank < _PER_KIND]
    chosen = list(dict.fromkeys(first))[:limit]
    questioned: dict[tuple[str, str], list[int]] = {place: [] for place in chosen}
    for finding in findings:
        place = (finding["split"], finding["sample_id"])
        if place in questioned:
            questioned[place] += [k for k in finding["landmarks"] if k not in questioned[place]]
    return questioned


def _save(picture: np.ndarray, folder: Path, name: str) -> str:
    path = save_image(picture, folder / "pictures" / f"{safe_name(name).replace(' ', '_')}.png")
    return path.relative_to(folder).as_posix()


def _on_sheet(dataset: LandmarkDataset) -> list[int]:
    """Return the samples on the contact sheet of a split, evenly spread."""
    count = len(dataset)
    return np.unique(np.linspace(0, count - 1, min(_SHEET, count)).round().astype(int)).tolist()


def _sheet(
    split: str, dataset: LandmarkDataset, known: Mapping[tuple[str, int, bool], np.ndarray]
) -> np.ndarray | None:
    pictures = []
    for index in _on_sheet(dataset):
        picture = known.get((split, index, False))
        if picture is None:
            sample = LandmarkDataset.get_data_info(dataset, index)["sample_id"]
            picture = _draw(dataset, index, f"{sample} ({split})", None)
        if picture is not None:
            pictures.append(picture)
    return contact_sheet(pictures, 3 if dataset.schema.dims == 2 else 1) if pictures else None


def _draw(
    dataset: LandmarkDataset, index: int, caption: str, questioned: list[int] | None
) -> np.ndarray | None:
    """Return a picture of a sample, or None if its image cannot be read."""
    size = (_SIDE, _SIDE) if dataset.schema.dims == 2 else None
    try:
        record = dataset.get_data_info(index)
        image = image_of_record(record, size, fill_value=0)
    except (FileNotFoundError, ValueError, ImportError):
        return None  # the check reports it
    return None if image is None else draw_sample(dataset, record, image, caption, questioned)


def draw_sample(
    dataset: LandmarkDataset,
    record: dict[str, Any],
    image: LoadedImage,
    caption: str,
    questioned: list[int] | None,
) -> np.ndarray:
    """Draw a sample of a checked dataset.

    Args:
        dataset: The dataset.
        record: The sample.
        image: Its image.
        caption: Text below.
        questioned: Landmarks in question, to be marked, and in a volume shown in slices; if empty, the whole
            shape is in question, and its points are numbered. None for a sample without a finding.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    points = apply_matrix(image.img_from_original, record["landmarks"].astype(np.float64))
    numbers = [str(k) for k in range(len(points))]
    # Numbers identify the points where a whole shape is in question.
    names = list(dataset.schema.landmarks) if questioned else numbers
    options: dict[str, Any] = dict(
        names=names if questioned or len(names) <= MANY else None,
        links=dataset.schema.links if questioned is not None else (),
        highlight=questioned or None,
    )
    if dataset.schema.dims == 2:
        return draw_landmarks(image.array, points, caption=caption, long_side=_SIDE, **options)
    volume = VolumePicture(
        image.array if image.array.ndim == 3 else image.array.mean(axis=-1),
        points,
        world_from_volume=world_from_image(image.world_from_original, image.img_from_original),
        spacing=record["spacing"],
        window=image.window,
        **options,
    )
    views = volume.views(long_side=_SIDE)
    slices = volume.slices(questioned, width=views.shape[1]) if questioned else None
    return volume.captioned(contact_sheet([views] if slices is None else [views, slices], 1), caption)
