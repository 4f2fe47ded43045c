"""Pseudo labels of the samples of batches, kept until all that an epoch labelled are reported."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.dist import all_gather_object

from mmlandmark.engine.label_rounds import LabelRound
from mmlandmark.structures import LandmarkDataSample


class BatchLabels:
    """Labels that an epoch has given to samples one batch at a time."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple] = {}

    def give(
        self, sample: LandmarkDataSample, made: LabelRound, n: int, order: Sequence[int], weight: float
    ) -> None:
        """Label a sample.

        Args:
            sample: The sample.
            made: Labels of the images of its batch.
            n: Which of them is its own.
            order: K places of the landmarks in the sample, those of a mirror image.
            weight: Of every label in the loss.
        """
        sample.gt_landmarks = torch.from_numpy(made.labels[n][order])
        sample.gt_visibility = torch.from_numpy(made.kept[n][order].astype(np.int8))
        sample.gt_weights = torch.full((len(order),), weight)
        row = (made.predicted[n], made.points[n], made.kept[n], made.deviation[n], made.adjusted[n])
        self._rows[sample.sample_id] = (*row, sample.get("spacing"), sample.get("world_from_original"))

    def gathered(self, epoch: int, ids: Sequence[str]) -> tuple[LabelRound, list[LandmarkDataSample]] | None:
        """Return the labels of all processes as one round, and samples for their millimetres; None if none.

        Args:
            epoch: Epochs that the network had been trained.
            ids: All images that may have been labelled, in order.
        """
        rows = {name: row for part in all_gather_object(self._rows) for name, row in part.items()}
        names = [name for name in ids if name in rows]
        if not names:
            return None
        columns = [np.stack([rows[name][i] for name in names]) for i in range(5)]
        samples = [
            LandmarkDataSample(
                metainfo=dict(sample_id=name, spacing=rows[name][5], world_from_original=rows[name][6])
            )
            for name in names
        ]
        return LabelRound(epoch, tuple(names), *columns), samples
