"""Phantoms as a dataset: no files, images are rendered on access."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmlandmark.datasets.landmark_dataset import LandmarkDataset
from mmlandmark.datasets.phantom.generate import SCHEMAS, bits_of, generator, render_phantom, sample_scene
from mmlandmark.datasets.records import consensus_fields
from mmlandmark.registry import DATASETS


@DATASETS.register_module()
class PhantomDataset(LandmarkDataset):
    """Generated images like radiographs and CT volumes, with exact landmarks.

    Landmarks and spacing of all samples are known when the dataset is built; an image is rendered when its
    sample is read, with the same bits in every process.

    Args:
        kind: ``ceph`` (19 landmarks), ``hand`` (37), ``spine`` (68) or, in 3D, ``head`` (26). In some heads a
            landmark is absent: its tooth is lost, or it lies outside of the volume.
        num_samples: Number of patients.
        size: (*S) of the images; the default is the usual format of the kind.
        seed: Number of the population, and seed of the pipeline as in LandmarkDataset.
        offset: Number of the first patient. Splits of one population must not overlap: give the test set an
            offset beyond the samples of the training set.
        missing: Fraction of landmarks that are not annotated, in [0, 1); every image keeps at least one.
        bits: 8, the default, or 16; a ``head`` is always int16 in Hounsfield units.
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
        bits: int | None = None,
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
        self.kind, self.num_samples, self.size = kind, num_samples, size
        if num_annotators < 1:
            raise ValueError(f"PhantomDataset: num_annotators must be at least 1, got {num_annotators}")
        self.offset, self.missing, self.num_annotators = offset, missing, num_annotators
        self.bits = bits_of(kind, bits)
        self.population = seed  # a run may set another seed for the pipeline, but not for the patients
        super().__init__(seed=seed, **{"schema": SCHEMAS[kind], **kwargs})

    def load_records(self) -> list[dict[str, Any]]:
        """Return one record per patient; see :meth:`LandmarkDataset.load_records`."""
        return [self._record(index) for index in range(self.offset, self.offset + self.num_samples)]

    def _record(self, index: int) -> dict[str, Any]:
        scene = sample_scene(self.kind, self.population, index, self.size)
        landmarks = scene.landmarks
        visibility = np.ones(len(landmarks), dtype=np.int8) if scene.visibility is None else scene.visibility
        lost = generator(self.kind, self.population, index, "missing").random(len(landmarks))
        lost[np.where(visibility > 0, lost, -1).argmax()] = 1.0
        gone = (lost < self.missing) & (visibility > 0)
        landmarks[gone], visibility[gone] = np.nan, 0
        # With one annotator, the offset minus the mean offset is zero.
        shape = (self.num_annotators, *landmarks.shape)
        offsets = generator(self.kind, self.population, 0, "readers").normal(size=shape)
        offsets = (offsets - offsets.mean(0)) * 0.005 * max(scene.size)
        known = dict(visibility=visibility, world_from_original=scene.world_from_original)
        return dict(
            sample_id=f"{self.kind}_{self.population}_{index:06d}",
            img_path=None,
            **consensus_fields(landmarks + offsets),
            **({} if scene.world_from_original is None else known),
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
