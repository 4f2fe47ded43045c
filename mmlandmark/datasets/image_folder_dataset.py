"""The images of a folder that nobody has annotated."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from mmlandmark.datasets.image_files import image_shape, image_stem, images_below
from mmlandmark.datasets.landmark_dataset import LandmarkDataset
from mmlandmark.registry import DATASETS


@DATASETS.register_module()
class ImageFolderDataset(LandmarkDataset):
    """All images anywhere below a folder, without annotation, to be labelled by a training.

    An image is named by its path below the folder, without suffix. One that an annotation has a row for is
    left out, and so is a file whose header cannot be read, with a warning that names it.

    Args:
        image_dir: The folder, below ``data_root``.
        labelled: Config of the annotated data. All images of its annotation are left out, whatever it
            selects, and the schema is that of the annotation unless ``schema`` says another.
        **kwargs: See :class:`LandmarkDataset`; those about annotations do not matter.

    Raises:
        FileNotFoundError: The folder does not exist.
        ValueError: It holds no image that is not annotated, or no schema is given.
    """

    def __init__(
        self, image_dir: str = "", *, labelled: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> None:
        self._annotated: LandmarkDataset | None = None
        if labelled is not None:
            config = {key: value for key, value in labelled.items() if key not in ("image_cache", "pipeline")}
            self._annotated = DATASETS.build(dict(config, lazy_init=True))
            if kwargs.get("schema") is None:
                kwargs["schema"] = self._annotated.schema
        kwargs["unlabelled"] = True
        super().__init__(image_dir=image_dir, **kwargs)

    def load_records(self) -> list[dict[str, Any]]:
        """List the images; see :meth:`LandmarkDataset.load_records`."""
        folder = os.path.join(self.data_root, self.image_dir)
        if not Path(folder).is_dir():
            raise FileNotFoundError(f"ImageFolderDataset: there is no folder {folder!r}")
        taken = self._annotated_files()
        records: list[dict[str, Any]] = []
        left_out = 0
        for path, name in images_below(folder):
            if Path(path).resolve() in taken:
                left_out += 1
                continue
            try:
                image_shape(path)
            except (OSError, ValueError) as error:
                print_log(f"left out, since it cannot be read: {error}", "current", 30)
                continue
            stem = (Path(name).parent / image_stem(name)).as_posix()
            records.append(dict(sample_id=stem, img_path=path, landmarks=None))
        if not records:
            annotated = f"; {left_out} are annotated" if left_out else ""
            raise ValueError(f"ImageFolderDataset: {folder!r} holds no image without annotation{annotated}")
        return records

    def _annotated_files(self) -> set[Path]:
        if self._annotated is None:
            return set()
        paths = [record.get("img_path") for record in self._annotated.load_records()]
        return {Path(path).resolve() for path in paths if path is not None}
