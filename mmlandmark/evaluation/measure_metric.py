"""Errors of clinical measures: angles, lengths, classes, as they follow from predicted landmarks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from mmlandmark.evaluation.measure_report import MeasureReport
from mmlandmark.evaluation.measures import measure_units, measure_values
from mmlandmark.evaluation.metrics import CaseMetric
from mmlandmark.evaluation.report import check_format
from mmlandmark.registry import METRICS
from mmlandmark.structures import LandmarkSchema
from mmlandmark.utils.near_names import did_you_mean


@METRICS.register_module()
class MeasureMetric(CaseMetric):
    """Compares the measures of predicted landmarks with those of annotated ones, or with published values.

    Keys: ``mae_<measure>``, the mean absolute error in degrees, mm or the ratio; ``class_accuracy_<measure>``
    and their mean ``class_accuracy``, in percent, of measures with classes; ``smape`` on request, with
    ``num_without_smape`` images that lack a true value and are left out of it. A measure that is annotated
    but not predicted is a wrong class and counts as 0 in ``smape``, but has no error of its own: read them
    with ``num_missing_measures``. Lengths of all images are in pixels, and have no class, if one has no
    spacing; angles and ratios are those of every image's own pixels.

    Args:
        measures: Names of the schema's measures, or definitions as in a schema file; all of the schema by
            default.
        published: Field of a sample with published values, one for each of ``measures``, such as ``angles``
            of AASCE 2019. The pipeline must keep it: ``PackInputs(meta_keys=("group", "angles"))``.
        published_classes: Field of a sample with published classes by the name of the measure, such as
            ``classes`` of ISBI 2015; compared with the ``code`` of the classes.
        smape: Also report the symmetric mean absolute percentage error of AASCE 2019: the mean over images of
            the sum of errors of all measures, divided by the sum of annotated and predicted values.
        show: Print the table to the log.
        out_file: One or several paths for the table, which end in .json, .csv or .md.
        prefix: Put before every key as ``prefix/``.
        collect_device: See :class:`CaseMetric`.
        collect_dir: See :class:`CaseMetric`.

    Raises:
        ValueError: A file has another suffix; or, during evaluation, the schema has no such measure, or a
            sample lacks a published value.
    """

    report_stem = "measures"

    @property
    def reported_keys(self) -> Sequence[str]:
        """See :class:`CaseMetric`; ``<measure>`` for any measure of the schema."""
        given = ["<measure>"] if self.measures is None else self.measures
        names = [one if isinstance(one, str) else one.get("name", "<measure>") for one in given]
        each = [f"{what}_{name}" for what in ("mae", "class_accuracy") for name in names]
        smape = ["smape", "num_without_smape"] if self.smape else []
        return [*each, "class_accuracy", "num_missing_measures", *smape]

    def __init__(
        self,
        measures: Sequence[str | dict[str, Any]] | None = None,
        published: str | None = None,
        published_classes: str | None = None,
        smape: bool = False,
        show: bool = False,
        out_file: str | Path | Sequence[str | Path] | None = None,
        prefix: str | None = None,
        collect_device: str = "cpu",
        collect_dir: str | None = None,
    ) -> None:
        super().__init__(prefix=prefix, collect_device=collect_device, collect_dir=collect_dir)
        self.measures, self.smape, self.show = measures, smape, show
        self.published, self.published_classes = published, published_classes
        self.out_files = [out_file] if isinstance(out_file, str | Path) else list(out_file or ())
        for path in self.out_files:
            check_format(path)
        self.report: MeasureReport | None = None

    def measure(self, cases: list[dict[str, Any]]) -> dict[str, float]:
        """Return the metrics, set :attr:`report`, and write the requested files."""
        schema, chosen = self._schema()
        in_mm = all(case["spacing"] is not None for case in cases)
        square = np.ones(schema.dims)
        scale = np.stack([np.diag(square if c["spacing"] is None else c["spacing"]) for c in cases])
        units = measure_units(schema, in_mm)
        lengths = np.array([unit == "pixels" for unit in units])
        shapes = None
        if all(case["ori_shape"] is not None for case in cases):
            shapes = np.array([case["ori_shape"] for case in cases])

        def values_of(key: str) -> np.ndarray:
            points = np.stack([case[key] for case in cases])
            values = measure_values(schema, points, scale, shapes)
            if lengths.any():
                # Of all images in one unit; angles and ratios stay those of each image's pixels.
                values[:, lengths] = measure_values(schema, points, None, shapes)[:, lengths]
            return values[:, chosen]

        predicted, annotated = values_of("pred"), values_of("gt")
        if self.published is not None:
            annotated = np.array([case["published"] for case in cases], dtype=np.float64)
        self.report = MeasureReport.from_values(
            predicted,
            annotated,
            [schema.measures[column] for column in chosen],
            [units[column] for column in chosen],
            codes=None if self.published_classes is None else [case["published_classes"] for case in cases],
            source=self._source(),
        )
        for path in self.out_files:
            self.report.save(path)
        if self.show:
            print_log("\n" + self.report.to_markdown(), logger="current")
        values = self.report.scalars
        if not self.smape:
            return values
        return dict(values, smape=self.report.smape, num_without_smape=self.report.smape_left_out)

    def _source(self) -> str:
        return f"published {' and '.join(self.fields.values())}" if self.fields else "annotated landmarks"

    @property
    def poolable(self) -> bool:
        """Whether it compares with annotated landmarks only."""
        return not self.fields

    @property
    def fields(self) -> dict[str, str]:
        """What it needs of a sample beside landmarks: name of the argument -> field."""
        given = dict(published=self.published, published_classes=self.published_classes)
        return {key: field for key, field in given.items() if field is not None}

    def check_sample(self, sample: Any) -> None:
        """Check before training whether the measures exist, and the published values in a sample.

        Args:
            sample: A data sample; None if :attr:`fields` is empty.

        Raises:
            ValueError: The schema or the sample lacks something; the message says what.
        """
        self._schema()
        if sample is not None:
            self._fields_of(sample)

    def _case(self, sample: dict) -> dict[str, Any]:
        return super()._case(sample) | self._fields_of(sample)

    def _fields_of(self, sample: Any) -> dict[str, Any]:
        found = {key: sample.get(field) for key, field in self.fields.items()}
        for key, value in found.items():
            if value is None:
                field = self.fields[key]
                raise ValueError(
                    f"{sample.get('sample_id')}: no {field!r}. The data must have it, and the pipeline must "
                    f"keep it: PackInputs(meta_keys=('group', {field!r}))"
                )
        return found

    def _schema(self) -> tuple[LandmarkSchema, list[int]]:
        """Return the schema with all measures, and the columns of the chosen ones."""
        meta = self.dataset_meta or {}
        names = meta.get("landmark_names")
        if names is None:
            raise ValueError("MeasureMetric: the data set names no landmarks, so nobody knows which is which")
        given = list(meta.get("measures") or ())
        wanted = [measure["name"] for measure in given] if self.measures is None else list(self.measures)
        known = [measure["name"] for measure in given]
        unknown = [name for name in wanted if isinstance(name, str) and name not in known]
        if unknown or not wanted:
            what = f"has no measure {unknown}{did_you_mean(unknown, known)}" if unknown else "has no measures"
            raise ValueError(f"MeasureMetric: schema {meta.get('schema')!r} {what}; it has {known}")
        schema = LandmarkSchema(
            name=str(meta.get("schema")),
            landmarks=tuple(names),
            dims=meta["dims"],
            reference_length=meta.get("reference_length"),
            derived_points=tuple(meta.get("derived_points") or ()),
            measures=(*given, *(dict(measure) for measure in wanted if not isinstance(measure, str))),
        )
        order = [measure["name"] for measure in schema.measures]
        return schema, [order.index(name if isinstance(name, str) else name["name"]) for name in wanted]
