"""The dataset: images and landmarks as records, passed to a pipeline one at a time."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from mmlandmark.datasets.annotation_files import read_annotations
from mmlandmark.datasets.dataset_choices import MissingImages, OnError, check_choices
from mmlandmark.datasets.folds import name_groups
from mmlandmark.datasets.frame_fit import Coordinates
from mmlandmark.datasets.image_cache import image_cache_of
from mmlandmark.datasets.image_files import image_shape
from mmlandmark.datasets.image_paths import ImageFinder, with_images
from mmlandmark.datasets.landmark_order import in_order
from mmlandmark.datasets.left_out import LeftOut, usable_sample
from mmlandmark.datasets.pseudo_labels import PseudoLabels, without_annotation
from mmlandmark.datasets.random_draws import SharedEpoch, sample_generator
from mmlandmark.datasets.records import (
    check_ids,
    chosen_landmarks,
    complete_record,
    describe,
    in_pixels,
    numbered_schema,
    turned_y,
    with_header,
)
from mmlandmark.datasets.selection import Selection
from mmlandmark.registry import DATASETS, TRANSFORMS
from mmlandmark.shape import TypicalShape
from mmlandmark.structures import LandmarkSchema, metainfo_of
from mmlandmark.utils.files import expanded
from mmlandmark.utils.sentences import in_one_sentence


@DATASETS.register_module()
class LandmarkDataset(BaseDataset):
    """Images with landmarks, read from one JSON or CSV file.

    The two formats are documented in ``docs/datasets.md``. A subclass for another format overrides
    :meth:`load_records` and nothing else.

    Every record is checked when the dataset is built, so that a run with a bad file stops before it starts.

    Args:
        ann_file: JSON or CSV file, relative to ``data_root``.
        data_root: Folder of the data; ``~`` and ``$VARIABLES`` are expanded.
        image_dir: Folder of the images, relative to ``data_root``.
        schema: Name of a shipped schema, JSON file, dict or LandmarkSchema. Landmarks with names are
            reordered to match it. None takes the schema of the file or release; without any, landmarks are
            numbered.
        landmarks: Names or indices of the landmarks to keep, in this order; None keeps all.
        split: Keeps the records of this split; None keeps all.
        fold: Cross-validation fold, by the records' ``fold`` key, within the records of ``fold_split`` (all
            records if they have no splits). ``split="train"`` then keeps those of all other folds, any
            other split (or none) those of this fold; records without a fold take no part.
        num_folds: Splits the records into this many folds, 0 to num_folds - 1, with every group in one
            fold, and ignores the folds of the records.
        fold_seed: Seed of ``num_folds``.
        fold_split: The split that the folds divide; None divides all records.
        group_pattern: Regular expression for the patient's name at the start of a sample id, in parentheses
            if it is not the whole match; for records without ``group``.
        fold_dir: Folder of published folds, below ``data_root``: ``set<fold>/train.txt`` and
            ``set<fold>/test.txt`` (or ``val.txt``) list their ids, of any split.
        ids: Sample ids to keep, in this order: a list, or a text file with one id a line, below
            ``data_root``, else the current folder, or, as ``mmlandmark::<path>``, among the shipped configs.
        spacing: mm per pixel, one number or (D,), of records without one.
        coordinates: What the numbers of the annotation are, where it does not say it: ``"pixels"`` (None), or
            mm in ``"LPS"`` or ``"RAS"``, which become pixels by the frame of the image.
        y_up: y counts from the centre of the bottom row upwards: it is replaced by H - 1 - y. H is the height
            in the annotation or, without one, that of the image.
        outside_root: Allow images outside of ``data_root``.
        missing_images: What to do when an image file does not exist: "raise", "drop" the record with a
            warning, or "keep" it (for work on annotations alone).
        on_error: What to do when an image of a training cannot be read: "raise", or "skip" it: it is named,
            counted, and the next sample takes its place.
        pipeline: Transforms, as dicts or callables.
        unlabelled: Hide all annotations; samples have the :attr:`pseudo_labels` that a training gives them.
        seed: Seed of all random draws; a sample's draws depend on it, the epoch and the index only.
        image_cache: Arguments of :class:`ImageCache`, e.g. ``dict(mode="ram", max_gb=4)``, or None.
        test_mode: Marks a dataset for evaluation, as in MMEngine.
        lazy_init: Read nothing before it is needed.
        indices: Keeps the first n records (int) or those at these positions.
        serialize_data: Hold records pickled in one buffer that worker processes share.
        metainfo: Entries added to :attr:`metainfo`.

    Raises:
        FileNotFoundError: The data folder, annotation file or an image does not exist.
        ValueError: A record is not valid; the message names file, line or key, and the cure.
    """

    _images: ImageFinder | None = None
    _schema: LandmarkSchema | None = None
    left_out: LeftOut  # the samples that could not be read, if these are skipped
    SCHEMA: str | None = None  # of a release; load_records returns points in its order
    SPLIT_GROUPS: dict[str, tuple[str, ...]] = {}  # names that stand for several splits

    def __init__(
        self,
        ann_file: str = "",
        data_root: str = "",
        image_dir: str = "",
        *,
        schema: str | dict | LandmarkSchema | None = None,
        landmarks: Sequence[int | str] | None = None,
        split: str | None = None,
        fold: int | str | None = None,
        num_folds: int | None = None,
        fold_seed: int = 0,
        fold_split: str | None = "train",
        fold_dir: str | None = None,
        group_pattern: str | None = None,
        ids: str | Sequence[str | int] | None = None,
        spacing: float | Sequence[float] | None = None,
        coordinates: Coordinates | None = None,
        y_up: bool = False,
        outside_root: bool = False,
        missing_images: MissingImages = "raise",
        on_error: OnError = "raise",
        pipeline: Sequence[dict | Callable] = (),
        unlabelled: bool = False,
        seed: int = 0,
        image_cache: dict | None = None,
        test_mode: bool = False,
        lazy_init: bool = False,
        indices: int | Sequence[int] | None = None,
        serialize_data: bool = True,
        metainfo: dict | None = None,
    ) -> None:
        check_choices(missing_images, coordinates, on_error, test_mode)
        self.selection = Selection(
            split, fold, num_folds, fold_seed, fold_split, fold_dir, ids, self.SPLIT_GROUPS
        )
        data_root = expanded(data_root)
        self.image_dir = expanded(image_dir, data_root)
        self.landmarks, self.group_pattern = landmarks, group_pattern
        self.spacing, self.missing_images, self.outside_root = spacing, missing_images, outside_root
        self.coordinates, self.y_up, self.unlabelled = coordinates, y_up, unlabelled
        self.skips_unreadable = unlabelled or on_error == "skip"
        self.set_seed(seed)
        self.image_cache, self._epoch = image_cache_of(image_cache), SharedEpoch()
        schema = self.SCHEMA if schema is None else schema
        self._full_schema = None if schema is None else LandmarkSchema.load(schema)
        if self._full_schema is not None:
            self._narrow_schema()
        super().__init__(
            ann_file=expanded(ann_file, data_root),
            data_root=data_root,
            data_prefix={},
            metainfo=metainfo,
            indices=indices,
            serialize_data=serialize_data,
            # Built here, so that our names resolve without a default scope.
            pipeline=[TRANSFORMS.build(step) if isinstance(step, dict) else step for step in pipeline],
            test_mode=test_mode,
            lazy_init=lazy_init,
        )

    @cached_property
    def release_names(self) -> tuple[str, ...]:
        """The landmarks of :attr:`SCHEMA`, in the order in which :meth:`load_records` returns them."""
        return LandmarkSchema.load(self.SCHEMA).landmarks if self.SCHEMA is not None else ()

    # ---- what a release overrides -------------------------------------------------------------------

    def load_records(self) -> list[dict[str, Any]]:
        """Read the annotations and return one record per image.

        A record is a dict with ``sample_id``, ``img_path`` (str or None) and ``landmarks`` ((K, D) in
        original pixels, NaN where missing, or None), and optionally ``by_annotator`` ((R, K, D), by
        each annotator), ``visibility``, ``weights``, ``spacing``, ``group``, ``split``, ``fold``,
        ``ori_shape``, ``source`` (file and line, for messages) and further keys. Selection and checks
        follow afterwards.
        """
        if not self.ann_file:
            raise ValueError(
                f"{type(self).__name__} needs ann_file, a JSON or CSV file (see docs/datasets.md)"
            )
        schema = self._full_schema
        annotations = read_annotations(
            self.ann_file,
            dims=None if schema is None else schema.dims,
            names=None if schema is None else schema.landmarks,
            image_dims=self._image_dims,
        )
        if self._full_schema is None and annotations.schema is not None:
            self._full_schema = annotations.schema
        for record in annotations.records:
            image = record.pop("image", None)
            record["img_path"] = None if image is None else self.image_path(image)
            if self.coordinates is not None:
                record.setdefault("in_world", self.coordinates)
        return annotations.records

    def image_path(self, name: str) -> str:
        """Return the path of an image that the annotation names relative to the image folder.

        See :class:`~mmlandmark.datasets.image_paths.ImageFinder`.

        Raises:
            ValueError: It is outside of ``data_root``, or several files match.
        """
        return self.find_image(os.path.join(self.data_root, self.image_dir, name), name)

    def find_image(self, path: str, name: str, where: str = "") -> str:
        """Return the path of an image that is expected at ``path``; ``where`` begins errors."""
        if self._images is None:
            folders = (self.data_root, os.path.join(self.data_root, self.image_dir))
            self._images = ImageFinder(folders, self.outside_root)
        try:
            return self._images.find(path, name)
        except ValueError as error:
            raise ValueError(f"{where or self._title()}: {error}") from None

    def _image_dims(self, name: str) -> int | None:
        """Return 2 for an image and 3 for a volume; None if it does not exist or its header is broken."""
        path = self.image_path(name)
        try:
            return len(image_shape(path))
        except (FileNotFoundError, ValueError, ImportError):
            return None  # The next image is tried; a broken one is reported when it is loaded.

    def wants_split(self, name: str) -> bool:
        """Return whether records of split ``name`` may be selected."""
        return self.selection.wants_split(name)

    def fold_folder(self) -> Path | None:
        """Return the folder of published folds, None if they are not used."""
        folder = self.selection.fold_dir
        return None if folder is None else Path(self.data_root, folder)

    def available_folds(self) -> list[str]:
        """Return the names of all folds of the data, whichever this dataset selects.

        Raises:
            ValueError: There are none.
        """
        folder = self.fold_folder()
        known = self.selection.num_folds is not None or folder is not None
        return self.selection.available_folds([] if known else self.load_records(), self._title(), folder)

    # ---- building -----------------------------------------------------------------------------------

    @in_one_sentence
    def load_data_list(self) -> list[dict[str, Any]]:
        """Return the selected records, complete and checked."""
        if self.data_root and not os.path.isdir(self.data_root):
            raise FileNotFoundError(f"{type(self).__name__}: data_root {self.data_root!r} does not exist")
        records = self._in_order(self.load_records())
        check_ids(records)
        if self.group_pattern is not None:
            name_groups(records, self.group_pattern)
        records = self.selection.select(records, self._title(), self.data_root, self.fold_folder())
        records = [in_pixels(record, self.spacing) for record in self._check_images(records)]
        if self.y_up:
            records = [turned_y(record) for record in records]
            print_log(f"{self._title()}: y_up, so y of {len(records)} samples became H - 1 - y", "current")
        self._full_schema = self._full_schema or numbered_schema(records)
        chosen = self._narrow_schema()
        if self._full_schema.dims == 3:
            records = [with_header(record, self.spacing) for record in records]
        records = [complete_record(record, self._full_schema, self.spacing) for record in records]
        if self.landmarks is not None:
            records = [dict(record, **chosen_landmarks(record, chosen)) for record in records]
        if self.skips_unreadable:  # before workers start, which share it
            self.left_out = LeftOut(len(records), "unlabelled image" if self.unlabelled else "image")
        return [without_annotation(record) for record in records] if self.unlabelled else records

    def _in_order(self, records: list[dict]) -> list[dict]:
        """Reorder the points of a release to match the requested schema."""
        if self.SCHEMA is None or self._full_schema is None:
            return records
        names, where = self.release_names, f"{type(self).__name__}, schema {self.SCHEMA!r}"
        return in_order(records, names, self._full_schema.landmarks, where)

    def _title(self) -> str:
        return f"{type(self).__name__}({self.ann_file or self.data_root!r})"

    def _check_images(self, records: list[dict]) -> list[dict]:
        try:
            summary, self._images = self._images and self._images.summary(), None
        except ValueError as error:
            raise ValueError(f"{self._title()}: {error}") from None
        if summary:
            print_log(f"{self._title()}: {summary}", "current")
        return (
            records
            if self.missing_images == "keep"
            else with_images(records, self._title(), self.missing_images == "drop")
        )

    def _narrow_schema(self) -> list[int]:
        """Set the schema of the landmarks that are kept; return their indices in the full schema."""
        assert self._full_schema is not None
        if self.landmarks is None:
            self._schema = self._full_schema
            return list(range(len(self._full_schema)))
        self._schema, chosen = self._full_schema.subset(self.landmarks)
        return chosen

    # ---- reading ------------------------------------------------------------------------------------

    @property
    def needs_typical_shape(self) -> bool:
        """Whether a step of the pipeline asks for :attr:`typical_shape`."""
        steps = getattr(self.pipeline, "transforms", ())
        return any(getattr(step, "needs_typical_shape", False) for step in steps)

    @cached_property
    def typical_shape(self) -> TypicalShape:
        """The typical shape of the landmarks; a training sets that of all its data."""
        from mmlandmark.datasets.annotated_shapes import annotated_shapes  # it reads data sets

        return TypicalShape.of(*annotated_shapes(self))

    @cached_property
    def pseudo_labels(self) -> PseudoLabels:
        """Labels of the samples of an ``unlabelled`` dataset, in memory that worker processes share."""
        return PseudoLabels(len(self), len(self.schema), self.schema.dims)

    @property
    def schema(self) -> LandmarkSchema:
        """The schema of the landmarks this dataset yields."""
        if self._schema is None:
            self.full_init()
        assert self._schema is not None
        return self._schema

    @property
    def dims(self) -> int:
        """Coordinates of a point, 2 or 3; without a schema the annotation is read, but no image."""
        if self._schema is not None:
            return self._schema.dims
        records = self.load_records()
        return (self._full_schema or numbered_schema(records)).dims

    @property
    def metainfo(self) -> dict[str, Any]:
        """What models, metrics and visualizers need to know about the landmarks, as plain types."""
        return metainfo_of(self.schema) | copy.deepcopy(self._metainfo)

    @property
    def epoch(self) -> int:
        """The epoch that the random draws belong to."""
        return self._epoch.get()

    def set_epoch(self, epoch: int) -> None:
        """Set the next epoch; living worker processes see it too."""
        self._epoch.set(epoch)

    def set_seed(self, seed: int) -> None:
        """Set the seed of the random draws, before worker processes start.

        Raises:
            ValueError: ``seed`` is not an integer of at least 0.
        """
        if not isinstance(seed, int) or seed < 0:
            raise ValueError(f"seed must be an integer >= 0, got {seed!r}")
        self.seed = seed

    def __getitem__(self, idx: int) -> Any:
        """Return sample ``idx`` after the pipeline.

        Raises:
            IndexError: ``idx`` is out of range.
            RuntimeError: The pipeline returned None.
        """
        size = len(self)
        if not -size <= idx < size:
            raise IndexError(f"index {idx} is out of range for {size} samples")
        # No silent second try with another sample, as in MMEngine: a broken file must not go unnoticed.
        data = (usable_sample if self.skips_unreadable else type(self).prepare_data)(self, idx % size)
        if data is None:
            raise RuntimeError(f"the pipeline returned None for {describe(self.get_data_info(idx % size))}")
        return data

    def prepare_data(self, idx: int) -> Any:
        """Return the record at ``idx`` with its random generator after the pipeline."""
        results = self.get_data_info(idx)
        if self.unlabelled:
            results.update(self.pseudo_labels[idx])
        results["rng"] = sample_generator(self.seed, self.epoch, idx)
        results.update(flip_pairs=self.schema.flip_pairs, image_cache=self.image_cache)
        if self.needs_typical_shape:
            results["typical_shape"] = self.typical_shape
        return self.pipeline(results)
