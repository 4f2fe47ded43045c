"""Presence: how well landmarks outside of the image are told, and that nothing is guessed of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mmlandmark.evaluation.functional import PRESENT, outside_image
from mmlandmark.evaluation.metrics import CaseMetric
from mmlandmark.registry import METRICS
from mmlandmark.structures import Prediction


def auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Return the area under the ROC curve: how often a positive has a greater score than a negative one.

    Args:
        scores: (N,) finite numbers; of equal ones each counts half.
        positive: (N,) bool.

    Returns:
        A number from 0 to 1, 0.5 at random; NaN unless there are positives and negatives.

    Example:
        >>> auroc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
        0.75
    """
    positive = np.asarray(positive, dtype=bool)
    ahead, behind = int(positive.sum()), int((~positive).sum())
    if not ahead or not behind:
        return float("nan")
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return float((ranks[positive].sum() - ahead * (ahead + 1) / 2) / (ahead * behind))


def withhold_absent(prediction: Prediction, threshold: float = PRESENT) -> Prediction:
    """Return the prediction without landmarks that are not in the image; a reason says which and why.

    A landmark is withheld (NaN with score 0) if it is less likely than ``threshold`` to be in the image,
    where the model says so, or if its point lies beyond the outer pixels.

    Args:
        prediction: In original pixels.
        threshold: Least probability of presence.
    """
    found = prediction.found
    outside = found & outside_image(prediction.points, np.array(prediction.shape))
    absent = np.zeros_like(found)
    reasons = {int(k): "lies outside of the image" for k in np.flatnonzero(outside)}
    if prediction.presence is not None:
        absent = found & (prediction.presence < threshold)
        chance = prediction.presence
        reasons |= {
            int(k): f"not in the image (presence {chance[k]:.2f}, below {threshold:g})"
            for k in np.flatnonzero(absent)
        }
    gone = outside | absent
    if not gone.any():
        return prediction
    points = np.where(gone[:, None], np.nan, prediction.points)
    scores = np.where(gone, 0.0, prediction.scores)
    return replace(prediction, points=points, scores=scores).with_reasons(reasons)


@METRICS.register_module()
class PresenceMetric(CaseMetric):
    """How well a model tells landmarks that are in the image from those that are not.

    Keys: ``presence_auroc`` over all landmarks of all images, the mean over landmarks
    ``presence_auroc_landmarks``, ``ghosts`` (percent of the absent landmarks that are predicted all the same)
    and ``withheld`` (percent of the present ones that are not), ``num_absent``. A landmark is present if it
    is annotated inside of the image, absent if its visibility is -1 or it is annotated outside; others do
    not count.

    Args:
        threshold: Probability below which a landmark counts as absent.
        per_landmark: Also report ``presence_auroc_<name>`` of every landmark that is both at times.
        prefix: Put before every key as ``prefix/``.
        collect_device: See :class:`~mmlandmark.evaluation.CaseMetric`.
        collect_dir: Likewise.
    """

    @property
    def reported_keys(self) -> Sequence[str]:
        """See :class:`~mmlandmark.evaluation.CaseMetric`."""
        each = ["presence_auroc_<landmark>"] if self.per_landmark else []
        return ["presence_auroc", "presence_auroc_landmarks", "ghosts", "withheld", "num_absent", *each]

    def __init__(
        self,
        threshold: float = 0.5,
        per_landmark: bool = False,
        prefix: str | None = None,
        collect_device: str = "cpu",
        collect_dir: str | None = None,
    ) -> None:
        super().__init__(prefix=prefix, collect_device=collect_device, collect_dir=collect_dir)
        self.threshold, self.per_landmark = threshold, per_landmark

    def measure(self, cases: list[dict[str, Any]]) -> dict[str, float]:
        """Return the metrics."""
        presence = np.array([case["presence"] for case in cases], dtype=np.float64)
        state = np.stack([_state(case) for case in cases])
        here, gone, told = state > 0, state < 0, presence >= self.threshold
        each = [auroc(presence[known, k], here[known, k]) for k, known in enumerate((state != 0).T)]
        values = dict(
            presence_auroc=auroc(presence[state != 0], here[state != 0]),
            presence_auroc_landmarks=_mean(np.array(each)),
            ghosts=100 * _mean(told[gone]),
            withheld=100 * _mean(~told[here]),
            num_absent=float(gone.sum()),
        )
        if self.per_landmark:
            names = (self.dataset_meta or {}).get("landmark_names") or [str(k + 1) for k in range(len(each))]
            values |= {
                f"presence_auroc_{name}": value
                for name, value in zip(names, each, strict=True)
                if np.isfinite(value)
            }
        return values

    def _case(self, sample: dict) -> dict[str, Any]:
        case = super()._case(sample)
        name = case["sample_id"]
        if sample.get("pred_presence") is None:
            raise ValueError(
                f"{name}: the model predicts no presence: train it with presence=dict() in its head"
            )
        # Under the names that a predictions file has, of which a cross-validation measures all folds.
        visibility = sample.get("gt_visibility")
        return dict(
            case,
            presence=np.asarray(sample["pred_presence"], dtype=np.float64),
            visibility=None if visibility is None else np.asarray(visibility),
        )


def _state(case: dict[str, Any]) -> np.ndarray:
    """Return (K,) 1 for a landmark in the image, -1 for one that is not, 0 where nobody knows."""
    gt, visibility, shape = case["gt"], case.get("visibility"), case.get("ori_shape")
    state = np.isfinite(gt).all(axis=1).astype(int)
    if visibility is not None:
        state[np.asarray(visibility) < 0] = -1
    if shape is not None:
        state[outside_image(gt, np.array(shape)) & (state > 0)] = -1
    return state


def _mean(values: np.ndarray) -> float:
    values = np.asarray(values, dtype=np.float64)
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else float("nan")
