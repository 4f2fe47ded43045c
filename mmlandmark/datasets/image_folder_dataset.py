"""The images of a folder that nobody has annotated."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from mmlandmark.datasets.image_files import image_shape, image_stem, images_below
from mmlandmark.datasets.landmark_dataset import LandmarkDataset
from mmlandmark.datasets.values import id_of_name
from mmlandmark.registry import DATASETS
from mmlandmark.utils.dataset_tree import bare_dataset, leaf_configs


@DATASETS.register_module()
class ImageFolderDataset(LandmarkDataset):
    """All images anywhere below a folder, without annotation, to be labelled by a training.

    An image is named by its path below the folder, without suffix unless another one has the same name. It
    begins with the name of the folder where an annotated sample has that name, too. An image that an
    annotation has a row for is left out, and so are pictures of predictions and trainings, and a file whose
    header cannot be read, or says that it has other dimensions than the landmarks, with a warning that names
    it.

    Args:
        image_dir: The folder, below ``data_root``.
        labelled: Config of the annotated data, or of several inside of a wrapper. All images of their
            annotation are left out, whatever they select, and the schema is that of the first unless
            ``schema`` says another.
        **kwargs: See :class:`LandmarkDataset`; those about annotations do not matter.

    Attributes:
        annotated: Number of images that an annotation has a row for.
        unusable: Why others are left out; each phrase names the file.

    Raises:
        FileNotFoundError: The folder does not exist.
        ValueError: It holds no image that is not annotated, or no schema is given.
    """

    def __init__(
        self, image_dir: str = "", *, labelled: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> None:
        leaves = [] if labelled is None else leaf_configs(bare_dataset(labelled))
        self._annotated = [DATASETS.build(dict(leaf, lazy_init=True)) for leaf in leaves]
        if leaves and kwargs.get("schema") is None:
            kwargs["schema"] = self._annotated[0].schema
        kwargs["unlabelled"] = True
        self.annotated, self.unusable = 0, list[str]()
        super().__init__(image_dir=image_dir, **kwargs)

    def load_records(self) -> list[dict[str, Any]]:
        """List the images; see :meth:`LandmarkDataset.load_records`."""
        folder = os.path.join(self.data_root, self.image_dir)
        if not Path(folder).is_dir():
            raise FileNotFoundError(f"ImageFolderDataset: there is no folder {folder!r}")
        rows = [record for dataset in self._annotated for record in dataset.load_records()]
        taken = {Path(row["img_path"]).resolve() for row in rows if row.get("img_path") is not None}
        found = [(path, Path(name)) for path, name in images_below(folder)]
        rest = [(path, name) for path, name in found if Path(path).resolve() not in taken]
        problems = {path: self._problem(path) for path, _ in rest}
        self.annotated = len(found) - len(rest)
        self.unusable = [problem for problem in problems.values() if problem is not None]
        for problem in self.unusable:
            print_log(f"unlabelled image left out: {problem}", "current", logging.WARNING)
        free = [(path, name) for path, name in rest if problems[path] is None]
        if not free:
            counts = dict(annotated=self.annotated, unusable=len(self.unusable))
            raise ValueError(
                f"ImageFolderDataset: {folder!r} holds no image without annotation"
                + "".join(f"; {count} are {what}" for what, count in counts.items() if count)
            )
        ids = _ids([name for _, name in free], {str(row["sample_id"]) for row in rows}, Path(folder).name)
        return [
            dict(sample_id=n, img_path=path, landmarks=None) for n, (path, _) in zip(ids, free, strict=True)
        ]

    def _problem(self, path: str) -> str | None:
        """Return why an image cannot be used, as far as its header says; None if it can."""
        try:
            axes = len(image_shape(path))
        except (OSError, ValueError) as error:
            return str(error)
        dims = axes if self._schema is None else self._schema.dims
        return None if axes == dims else f"{path} has {axes} dimensions, the landmarks have {dims}"


def _stem(name: Path) -> str:
    return (name.parent / image_stem(name)).as_posix()


def _ids(names: Sequence[Path], taken: Collection[str], folder: str) -> list[str]:
    """Return an id for every path below a folder that is neither that of another one nor taken."""
    whole = {name.as_posix() for name in names}
    often = Counter(map(_stem, names))
    short = [name.as_posix() if often[stem := _stem(name)] > 1 or stem in whole else stem for name in names]
    first = list(map(id_of_name, short))
    used, others, ids = set(taken), set(first), list[str]()
    for one in first:
        longer = one
        while longer in used or (longer != one and longer in others):
            longer = f"{id_of_name(folder)}/{longer}"
        used.add(longer)
        ids.append(longer)
    return ids
