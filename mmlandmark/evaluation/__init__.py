"""Evaluation of predictions: pure functions, metrics for MMEngine's loops, reports, records and tables."""

from mmlandmark.evaluation.calibration import Calibration
from mmlandmark.evaluation.cobb import CobbAngles, cobb_angles
from mmlandmark.evaluation.comparison import PairedTest, paired_test
from mmlandmark.evaluation.conformal import conformal_quantile
from mmlandmark.evaluation.costs import read_costs
from mmlandmark.evaluation.coverage import CoverageReport
from mmlandmark.evaluation.doubt import Doubt, flag_curve
from mmlandmark.evaluation.fold_report import FoldReport
from mmlandmark.evaluation.functional import (
    coordinate_mse,
    cumulative_curve,
    independent_units,
    mean_interval,
    mean_offsets,
    outlier_rate,
    pearson_rho,
    per_image_mean,
    radial_errors,
    reference_scale,
    success_rate,
    summarize,
)
from mmlandmark.evaluation.landmark_table import landmark_table
from mmlandmark.evaluation.measure_metric import MeasureMetric
from mmlandmark.evaluation.measure_report import MeasureReport
from mmlandmark.evaluation.measures import (
    measure_all,
    measure_units,
    measure_values,
    millimetre_axes,
)
from mmlandmark.evaluation.metric_names import format_metric, headline_metrics, metric_title
from mmlandmark.evaluation.metrics import CaseMetric, CoordinateMetric, LandmarkMetric
from mmlandmark.evaluation.origin import Origin, sample_hashes
from mmlandmark.evaluation.overlap import Overlap, read_overlaps
from mmlandmark.evaluation.presence import PresenceMetric, auroc, withhold_absent
from mmlandmark.evaluation.published import PublishedTable, published_page, read_published
from mmlandmark.evaluation.record import (
    compare_records,
    read_records,
    read_superseded,
    record_results,
    sample_hash,
    split_hash,
)
from mmlandmark.evaluation.report import LandmarkReport, without_nan
from mmlandmark.evaluation.tables import results_table
from mmlandmark.evaluation.tested_cases import TestedCases

__all__ = [
    "Calibration",
    "CaseMetric",
    "CobbAngles",
    "CoordinateMetric",
    "CoverageReport",
    "Doubt",
    "FoldReport",
    "LandmarkMetric",
    "LandmarkReport",
    "MeasureMetric",
    "MeasureReport",
    "Origin",
    "Overlap",
    "PairedTest",
    "PresenceMetric",
    "PublishedTable",
    "TestedCases",
    "auroc",
    "cobb_angles",
    "compare_records",
    "conformal_quantile",
    "coordinate_mse",
    "cumulative_curve",
    "flag_curve",
    "format_metric",
    "headline_metrics",
    "independent_units",
    "landmark_table",
    "mean_interval",
    "mean_offsets",
    "measure_all",
    "measure_units",
    "measure_values",
    "metric_title",
    "millimetre_axes",
    "outlier_rate",
    "paired_test",
    "pearson_rho",
    "per_image_mean",
    "published_page",
    "radial_errors",
    "read_costs",
    "read_overlaps",
    "read_published",
    "read_records",
    "read_superseded",
    "record_results",
    "reference_scale",
    "results_table",
    "sample_hash",
    "sample_hashes",
    "split_hash",
    "success_rate",
    "summarize",
    "withhold_absent",
    "without_nan",
]
