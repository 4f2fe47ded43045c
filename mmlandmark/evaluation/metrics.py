"""Metrics of validation and test loops, on top of the pure functions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import get_world_size
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from mmlandmark.evaluation.functional import coordinate_mse, pearson_rho, radial_errors, reference_scale
from mmlandmark.evaluation.legacy_grid import on_legacy_grid
from mmlandmark.evaluation.origin import ORIGIN_KEY, Origin
from mmlandmark.evaluation.report import UNIT_SUFFIX, LandmarkReport, check_format, scalar_keys, without_nan
from mmlandmark.registry import METRICS
from mmlandmark.utils.files import write_state

# What a model may say about how sure it is: key of a case, field of a sample.
_SURENESS = (
    ("scores", "pred_scores"),
    ("spread", "pred_spread"),
    ("presence", "pred_presence"),
    ("deviation", "pred_deviation"),
    ("visibility", "gt_visibility"),
)


class CaseMetric(BaseMetric):
    """Base of metrics that collect every case once, in an order independent of the number of processes.

    A distributed sampler repeats images so that all processes get the same number, and the results of the
    processes interleave. Cases are therefore identified and sorted by ``sample_id``, so one process and many
    report the same numbers.

    Args:
        prefix: Put before every key as ``prefix/``, to distinguish several metrics of one kind.
        collect_device: ``cpu`` or ``gpu``, where the results of several processes are gathered.
        collect_dir: Shared folder for gathering them on ``cpu``.
    """

    default_prefix = ""
    report_stem = ""  # name of the files of its report; empty for none

    @property
    def poolable(self) -> bool:
        """Whether :meth:`measure` needs no more of a case than a predictions file keeps."""
        return True

    @property
    def reported_keys(self) -> Sequence[str] | None:
        """Keys of :meth:`measure`, with ``<landmark>`` for any landmark's name; None if not known before."""
        return None

    def __init__(
        self, prefix: str | None = None, collect_device: str = "cpu", collect_dir: str | None = None
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.cases: list[dict[str, Any]] = []

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the parts of a batch that the metrics need.

        Args:
            data_batch: Not used.
            data_samples: Samples with predictions as dicts, see
                :class:`mmlandmark.structures.LandmarkDataSample`.

        Raises:
            ValueError: A sample lacks a field, or its shapes disagree; the message names the sample.
        """
        self.results.extend(self._case(sample) for sample in data_samples)

    def evaluate(self, size: int) -> dict[str, float]:
        """Gather the cases of all processes and return the metrics, the same in every process."""
        # One packet per process: the base class interleaves the cases of all processes and truncates the list
        # to `size` entries, which would lose a case wherever a repeated one is not at the end.
        self.results: list[Any] = [self.results]
        return super().evaluate(get_world_size())

    def compute_metrics(self, results: list[list[dict]]) -> dict[str, float]:
        """Return the metrics of all cases, which are kept in :attr:`cases`.

        Raises:
            ValueError: There are no cases, or two different cases have the same ``sample_id``.
        """
        unique: dict[str, dict] = {}
        for case in (case for packet in results for case in packet):
            known = unique.setdefault(case["sample_id"], case)
            if known["gt"].shape != case["gt"].shape or not np.array_equal(
                known["gt"], case["gt"], equal_nan=True
            ):
                raise ValueError(
                    f"sample_id {case['sample_id']!r} occurs twice with different annotations: "
                    "ids must be unique"
                )
        if not unique:
            raise ValueError(f"{type(self).__name__}: nothing to evaluate, the data loader has no samples")
        self.cases = [unique[key] for key in sorted(unique)]
        return self.measure(self.cases)

    @abstractmethod
    def measure(self, cases: list[dict[str, Any]]) -> dict[str, float]:
        """Return the metrics of cases, each a dict as returned by :meth:`_case`."""

    def _case(self, sample: dict) -> dict[str, Any]:
        name = str(sample.get("sample_id", "a sample without sample_id"))
        for key, cure in (
            ("sample_id", "the dataset must name every case"),
            ("gt_landmarks", "evaluation needs annotated cases"),
            ("pred_landmarks", "the model must set it in predict mode"),
        ):
            if sample.get(key) is None:
                raise ValueError(f"{name}: no {key}, {cure}")
        gt, pred = _points(sample["gt_landmarks"]), _points(sample["pred_landmarks"])
        if gt.shape != pred.shape or gt.ndim != 2:
            raise ValueError(f"{name}: {pred.shape} predicted but {gt.shape} annotated landmarks (K, D)")
        if sample.get("gt_visibility") is not None:
            gt[_numpy(sample["gt_visibility"]) <= 0] = np.nan
        spacing = sample.get("spacing")
        if spacing is not None:
            spacing = np.asarray(spacing, dtype=np.float64)
            if spacing.shape != gt.shape[1:] or not (np.isfinite(spacing) & (spacing > 0)).all():
                raise ValueError(f"{name}: spacing must be {gt.shape[1]} positive numbers, got {spacing}")
        case: dict[str, Any] = dict(
            sample_id=name, gt=gt, pred=pred, spacing=spacing, ori_shape=sample.get("ori_shape")
        )
        return case if sample.get("group") is None else dict(case, group=str(sample["group"]))


@METRICS.register_module()
class LandmarkMetric(CaseMetric):
    """Mean radial error, its spread, and success rates, in the original image.

    Keys: ``mre``, ``mre_sd``, ``mre_median``, ``mre_p95`` over all points, ``mre_image`` (mean of the means
    of the images), ``sdr_<radius><unit>`` and ``outliers_<radius><unit>`` in percent, ``num_images``,
    ``num_annotated``, ``num_missing_gt`` and ``num_missing_pred``. A point that is annotated but not
    predicted is a failure in every success rate, but has no error: read ``mre`` with ``num_missing_pred``.

    Args:
        unit: ``mm`` (needs spacing or a reference), ``px``, or ``normalized`` (fractions of the reference).
        radii: Radii of the success rates in ``unit``.
        strict: Count only errors below the radius as success; the default also counts those equal to it.
        reference: A known distance of two annotated landmarks: ``dict(pair=(i, j), mm=50.0)`` with indices
            from 0, or ``"schema"`` for the schema's ``reference_length``. It takes precedence over spacing,
            which then only gives the aspect ratio of the pixels (1 where an image has none). ``normalized``
            needs no ``mm``, and ``px`` ignores it.
        legacy_grid: (*S) of a grid on whose cells errors are measured, with a truncated annotation, see
            :func:`~mmlandmark.evaluation.legacy_grid.on_legacy_grid`: only to compare with numbers that were
            measured like this, such as those of CC2D.
        per_landmark: Also report ``mre_<name>`` of every landmark.
        show: Print the whole table to the log.
        out_file: One or several paths for the table, which end in .json, .csv or .md.
        predictions_file: JSON file for points and errors of every case, for later tools; also scores, spread
            and presence, where the model predicts them.
        tested: What is tested, in words or as a path, for the report and the predictions.
        prefix: Put before every key as ``prefix/``.
        collect_device: See :class:`CaseMetric`.
        collect_dir: See :class:`CaseMetric`.

    Attributes:
        report: Of the last evaluation.
        origin: Which detector predicts, for the predictions file; a test sets it.

    Raises:
        ValueError: An argument is wrong; or, during evaluation, a case has neither spacing nor reference.
    """

    report_stem = "report"

    @property
    def reported_keys(self) -> Sequence[str]:
        """See :class:`CaseMetric`."""
        return [*scalar_keys(self.radii, self.unit), *(["mre_<landmark>"] if self.per_landmark else [])]

    def __init__(
        self,
        unit: str = "mm",
        radii: Sequence[float] = (2, 2.5, 3, 4),
        strict: bool = False,
        reference: dict[str, Any] | str | None = None,
        legacy_grid: Sequence[int] | None = None,
        per_landmark: bool = False,
        show: bool = False,
        out_file: str | Path | Sequence[str | Path] | None = None,
        predictions_file: str | Path | None = None,
        tested: str = "",
        prefix: str | None = None,
        collect_device: str = "cpu",
        collect_dir: str | None = None,
    ) -> None:
        super().__init__(prefix=prefix, collect_device=collect_device, collect_dir=collect_dir)
        if unit not in UNIT_SUFFIX:
            raise ValueError(f"LandmarkMetric: unit must be one of {sorted(UNIT_SUFFIX)}, got {unit!r}")
        if not radii or not all(np.isfinite(radius) and radius > 0 for radius in radii):
            raise ValueError(f"LandmarkMetric: radii must be positive numbers, got {radii!r}")
        if unit == "normalized" and reference is None:
            raise ValueError(
                "LandmarkMetric: unit='normalized' needs reference=dict(pair=(i, j)) or 'schema'"
            )
        if reference is not None and reference != "schema":
            _check_reference(reference, unit)
        self.unit, self.radii, self.strict, self.reference = unit, tuple(radii), strict, reference
        if legacy_grid is not None and not all(side > 0 for side in legacy_grid):
            raise ValueError(f"LandmarkMetric: sides of legacy_grid must be positive, got {legacy_grid}")
        self.legacy_grid = None if legacy_grid is None else tuple(legacy_grid)
        self.per_landmark, self.show = per_landmark, show
        self.out_files = [out_file] if isinstance(out_file, str | Path) else list(out_file or ())
        for path in self.out_files:
            check_format(path)
        self.predictions_file, self.tested = predictions_file, tested
        self.report: LandmarkReport | None = None
        self.origin: Origin | None = None

    def measure(self, cases: list[dict[str, Any]]) -> dict[str, float]:
        """Return the metrics, set :attr:`report`, and write the requested files."""
        gt, pred = _stack(cases, "gt"), _stack(cases, "pred")
        names = self._names(gt.shape[1])
        scale, source = self._scale(cases, gt)
        compared = pred, gt
        if self.legacy_grid is not None:
            shapes = [_original_shape(case) for case in cases]
            compared = on_legacy_grid(pred, gt, shapes, self.legacy_grid)
            grid = " x ".join(map(str, self.legacy_grid))
            source += f"; LEGACY: cells of a grid of {grid}, annotation truncated"
        errors = radial_errors(*compared, scale)
        self.report = LandmarkReport.from_errors(
            errors,
            names,
            unit=self.unit,
            radii=self.radii,
            annotated=np.isfinite(gt).all(axis=2),
            strict=self.strict,
            scale_source=source,
            tested=self.tested,
            dims=gt.shape[2],
            groups=[case.get("group") for case in cases],
        )
        for case, row in zip(cases, errors, strict=True):
            case["errors"] = row
        self._write(self.report, cases)
        if self.show:
            print_log("\n" + self.report.to_markdown(), logger="current")
        values = self.report.scalars
        if self.per_landmark:
            values.update({f"mre_{row['name']}": row["mre"] for row in self.report.landmarks})
        return values

    def check_scale(self, cases: list[dict[str, Any]]) -> None:
        """Check before training whether errors can be measured in ``unit``.

        Args:
            cases: Each with ``sample_id``, ``gt`` (K, D) in pixels, NaN where missing, and ``spacing``.

        Raises:
            ValueError: A case has neither spacing nor reference length; the message names it.
        """
        for case in cases:
            self._check_spacing(case)
        self._scale(cases, _stack(cases, "gt"))

    def _case(self, sample: dict) -> dict[str, Any]:
        case = super()._case(sample)
        self._check_spacing(case)
        case.update({key: _numpy(sample[field]) for key, field in _SURENESS if sample.get(field) is not None})
        return case

    def _check_spacing(self, case: dict[str, Any]) -> None:
        if self.unit == "mm" and self.reference is None and case["spacing"] is None:
            raise ValueError(
                f"{case['sample_id']}: no spacing, so no millimetres. Give the dataset the spacing (mm per "
                "pixel), or LandmarkMetric a known length, reference=dict(pair=(i, j), mm=...); "
                "or set unit='px'"
            )

    def _names(self, count: int) -> list[str]:
        names = (self.dataset_meta or {}).get("landmark_names")
        if names is None:
            return [f"landmark_{i + 1}" for i in range(count)]
        if len(names) != count:
            raise ValueError(f"the model predicts {count} landmarks but the dataset names {len(names)}")
        return list(names)

    def _scale(self, cases: list[dict[str, Any]], gt: np.ndarray) -> tuple[np.ndarray | None, str]:
        """Return the (N, D) scale of the errors, and its source in words."""
        if self.unit == "px":
            return None, f"{'pixels' if gt.shape[2] == 2 else 'voxels'} of the original images"
        # Beside a reference only the shape of a pixel counts, of each image by itself.
        square = np.ones(gt.shape[2])
        spacing = np.stack([square if case["spacing"] is None else case["spacing"] for case in cases])
        if self.reference is None:
            return spacing, "spacing of every image"
        reference = self._resolved_reference()
        length = reference["mm"] if self.unit == "mm" else 1.0
        scale = reference_scale(gt, reference["pair"], length, spacing)
        i, j = reference["pair"]
        lost = np.flatnonzero(np.isnan(scale).any(axis=1))
        if lost.size:
            raise ValueError(
                f"{cases[lost[0]]['sample_id']}: reference landmarks {i} and {j} are missing or coincide "
                f"({lost.size} such case(s)): leave these cases out or choose another pair"
            )
        words = f"distance of landmarks {i} and {j} (counted from 0) = {length:g}"
        return scale, words + (" mm" if self.unit == "mm" else "")

    def _resolved_reference(self) -> dict[str, Any]:
        if isinstance(self.reference, dict):
            return self.reference
        reference = (self.dataset_meta or {}).get("reference_length")
        if not reference:
            name = (self.dataset_meta or {}).get("schema")
            raise ValueError(
                f"LandmarkMetric: reference='schema', but schema {name!r} has no reference_length"
            )
        return reference

    def _write(self, report: LandmarkReport, cases: list[dict[str, Any]]) -> None:
        for path in self.out_files:
            report.save(path)
        if self.predictions_file is not None:
            keys = ("sample_id", "group", "pred", "gt", "errors", "spacing", "ori_shape", *dict(_SURENESS))
            rows = [{key: case[key] for key in keys if key in case} for case in cases]
            origin = {} if self.origin is None else {ORIGIN_KEY: self.origin.to_dict()}
            content = dict(
                tested=self.tested,
                **origin,
                unit=self.unit,
                landmark_names=[row["name"] for row in report.landmarks],
                cases=rows,
            )
            write_state(self.predictions_file, without_nan(content), indent=None)


@METRICS.register_module()
class CoordinateMetric(CaseMetric):
    """Errors of coordinates as in the spine literature, without millimetres.

    Keys: ``coordinate_mse``, the mean squared error of coordinates as fractions of the image's sides, and
    ``pearson_rho``, the correlation of all predicted with all annotated fractions.
    """

    @property
    def reported_keys(self) -> Sequence[str]:
        """See :class:`CaseMetric`."""
        return ["coordinate_mse", "pearson_rho"]

    def measure(self, cases: list[dict[str, Any]]) -> dict[str, float]:
        """Return both metrics."""
        gt, pred = _stack(cases, "gt"), _stack(cases, "pred")
        size = np.array([case["ori_shape"][::-1] for case in cases], dtype=np.float64)
        return dict(coordinate_mse=coordinate_mse(pred, gt, size), pearson_rho=pearson_rho(pred, gt, size))

    def _case(self, sample: dict) -> dict[str, Any]:
        case = super()._case(sample)
        _original_shape(case)
        return case


def _original_shape(case: dict[str, Any]) -> tuple[int, ...]:
    """Return the (*S) of a case's original image."""
    shape = case["ori_shape"]
    if shape is None or len(shape) != case["gt"].shape[1]:
        raise ValueError(f"{case['sample_id']}: ori_shape must have one side per axis, got {shape}")
    return tuple(shape)


def _check_reference(reference: Any, unit: str) -> None:
    needed = {"pair", "mm"} if unit == "mm" else {"pair"}
    if not isinstance(reference, dict) or not needed <= set(reference) <= {"pair", "mm"}:
        raise ValueError(f"LandmarkMetric: reference needs {sorted(needed)}, got {reference!r}")
    if len(reference["pair"]) != 2:
        raise ValueError(f"LandmarkMetric: reference pair must be two indices, got {reference['pair']!r}")


def _numpy(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)


def _points(values: Any) -> np.ndarray:
    """Return a float64 copy in which a point is finite or wholly NaN."""
    points = np.array(_numpy(values), dtype=np.float64)
    points[~np.isfinite(points).all(axis=-1)] = np.nan
    return points


def _stack(cases: list[dict[str, Any]], key: str) -> np.ndarray:
    shape = cases[0][key].shape
    for case in cases:
        if case[key].shape != shape:
            raise ValueError(
                f"{case['sample_id']}: landmarks are {case[key].shape}, "
                f"but {shape} in {cases[0]['sample_id']}"
            )
    return np.stack([case[key] for case in cases])
