"""Phantoms as a dataset: no files, images are rendered on access."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmlandmark.datasets.landmark_dataset import LandmarkDataset
from mmlandmark.datasets.phantom.generate import SCHEMAS, generator, render_phantom, sample_scene
from mmlandmark.datasets.records import consensus_fields
from mmlandmark.registry import DATASETS


@DATASETS.register_module()
class PhantomDataset(LandmarkDataset):
    """Generated, radiograph-like images with exact landmarks.

    Landmarks and spacing of all samples are known when the dataset is built; an image is rendered when its
    sample is read, with the same bits in every process.

    Args:
        kind: ``ceph`` (19 landmarks), ``hand`` (37) or ``spine`` (68).
        num_samples: Number of patients.
        size: (*S) of the images; the default is the usual format of the kind.
        seed: Number of the population, and seed of the pipeline as in LandmarkDataset.
        offset: Number of the first patient. Splits of one population must not overlap: give the test set an
            offset beyond the samples of the training set.
        missing: Fraction of landmarks that are not annotated, in [0, 1); every image keeps at least one.
        bits: 8 or 16.
        num_annotators: With several, samples also have ``by_annotator``: each annotator has a constant offset
            per landmark, and their mean is exact.
        **kwargs: As in LandmarkDataset (pipeline, landmarks, num_folds, ...), except those about files.

    Raises:
        ValueError: An argument does not fit; it is named.
    """

    def __init__(
        self,
        kind: str = "ceph",
        num_samples: int = 100,
        size: Sequence[int] | None = None,
        *,
        seed: int = 0,
        offset: int = 0,
        missing: float = 0.0,
        bits: int = 8,
        num_annotators: int = 1,
        **kwargs: Any,
    ) -> None:
        files = sorted({"ann_file", "data_root", "image_dir", "image_cache"} & set(kwargs))
        if files:
            raise ValueError(f"PhantomDataset reads no files, remove {files}")
        if kind not in SCHEMAS:
            raise ValueError(f"unknown phantom kind {kind!r}, known: {', '.join(SCHEMAS)}")
        if num_samples < 1 or offset < 0:
            raise ValueError(
                f"PhantomDataset needs num_samples >= 1 and offset >= 0, got {num_samples} and {offset}"
            )
        if not 0 <= missing < 1:
            raise ValueError(f"PhantomDataset: missing is a fraction in [0, 1), got {missing}")
        if bits not in (8, 16):
            raise ValueError(f"PhantomDataset: bits must be 8 or 16, got {bits}")
        self.kind, self.num_samples, self.size = kind, num_samples, size
        if num_annotators < 1:
            raise ValueError(f"PhantomDataset: num_annotators must be at least 1, got {num_annotators}")
        self.offset, self.missing, self.bits, self.num_annotators = offset, missing, bits, num_annotators
        self.population = seed  # a run may set another seed for the pipeline, but not for the patients
        super().__init__(seed=seed, **{"schema": SCHEMAS[kind], **kwargs})

    def load_records(self) -> list[dict[str, Any]]:
        """Return one record per patient; see :meth:`LandmarkDataset.load_records`."""
        return [self._record(index) for index in range(self.offset, self.offset + self.num_samples)]

    def _record(self, index: int) -> dict[str, Any]:
        scene = sample_scene(self.kind, self.population, index, self.size)
        landmarks = scene.landmarks
        lost = generator(self.kind, self.population, index, "missing").random(len(landmarks))
        lost[lost.argmax()] = 1.0
        landmarks[lost < self.missing] = np.nan
        # With one annotator, the offset minus the mean offset is zero.
        shape = (self.num_annotators, *landmarks.shape)
        offsets = generator(self.kind, self.population, 0, "readers").normal(size=shape)
        offsets = (offsets - offsets.mean(0)) * 0.005 * max(scene.size)
        return dict(
            sample_id=f"{self.kind}_{self.population}_{index:06d}",
            img_path=None,
            **consensus_fields(landmarks + offsets),
            spacing=scene.spacing,
            ori_shape=scene.size,
            phantom_index=index,
        )

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """Return the record at ``idx`` with its rendered image as ``img``."""
        record = super().get_data_info(idx)
        image, _, _ = render_phantom(
            self.kind, self.population, record["phantom_index"], self.size, self.bits
        )
        return dict(record, img=image)
