"""How good predictions are: pure functions, the metrics of MMEngine's loops on top, reports and records."""

from mmlandmark.evaluation.functional import (
    coordinate_mse,
    cumulative_curve,
    mean_interval,
    outlier_rate,
    pearson_rho,
    per_image_mean,
    radial_errors,
    reference_scale,
    success_rate,
    summarize,
)
from mmlandmark.evaluation.metrics import CoordinateMetric, LandmarkMetric
from mmlandmark.evaluation.record import record_results, split_hash
from mmlandmark.evaluation.report import LandmarkReport

__all__ = [
    "CoordinateMetric",
    "LandmarkMetric",
    "LandmarkReport",
    "coordinate_mse",
    "cumulative_curve",
    "mean_interval",
    "outlier_rate",
    "pearson_rho",
    "per_image_mean",
    "radial_errors",
    "record_results",
    "reference_scale",
    "split_hash",
    "success_rate",
    "summarize",
]
