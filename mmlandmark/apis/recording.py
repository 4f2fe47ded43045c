"""Results of a test, recorded as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from mmlandmark.apis.provenance import describe_tested
from mmlandmark.apis.tested_run import tested_run
from mmlandmark.engine import ConfigError
from mmlandmark.evaluation import independent_units, per_image_mean, record_results
from mmlandmark.models.model_file import meta_of
from mmlandmark.utils.checkpoint import load_checkpoint
from mmlandmark.utils.files import read_state

_AGAIN = "test again"


def record_test(
    config: Config,
    checkpoint: str | Path,
    metrics: dict[str, float],
    out_dir: str | Path,
    path: str | Path | None = None,
    **more: Any,
) -> Path:
    """Record a test as JSON, with everything needed to reproduce it.

    Args:
        config: The tested config.
        checkpoint: The tested weights; seed and epoch are read from it.
        metrics: Result of :func:`~mmlandmark.apis.test_config`.
        out_dir: Folder to which it wrote its predictions.
        path: File to write; ``results/<config>_seed<seed>.json`` beside the config by default.
        more: Further entries in plain types.

    Raises:
        ConfigError: No path is given and the config did not come from a file.
    """
    meta = meta_of(load_checkpoint(checkpoint))
    seed = meta.get("seed")
    if path is None:
        if not config.filename:
            raise ConfigError("--record needs a path: this config did not come from a file")
        source = Path(config.filename)
        path = source.parent / "results" / f"{source.stem}_seed{seed}.json"
    extra: dict[str, Any] = {
        key: meta[key] for key in ("members", "seeds", "inputs", "trained_on", "precision") if key in meta
    }
    if "members" in extra:  # where they lie on this machine is nobody else's concern
        extra["members"] = [Path(member).name for member in extra["members"]]
    if "trained_on" in extra:  # a record names the set, not its images
        extra["trained_on"] = {k: v for k, v in extra["trained_on"].items() if k != "samples"}
    extra |= describe_tested(tested_run(config)[0], checkpoint) | more
    record_predictions(path, config, metrics, seed, out_dir, epoch=meta.get("epoch"), **extra)
    return Path(path)


def record_predictions(
    path: str | Path,
    config: Config,
    metrics: dict[str, float],
    seed: int | None,
    out_dir: str | Path,
    **extra: Any,
) -> None:
    """Record metrics with the errors of all images, for paired tests; see :func:`record_results`.

    Args:
        path: File to write.
        config: The tested config.
        metrics: Its metrics.
        seed: Seed of the training.
        out_dir: Folder of ``predictions.json``.
        extra: Further entries in plain types.
    """
    predictions = read_state(Path(out_dir) / "predictions.json", _AGAIN)
    cases = sorted(predictions["cases"], key=lambda case: case["sample_id"])
    errors = per_image_mean(np.array([case["errors"] for case in cases], dtype=float))
    report = _report(Path(out_dir) / "report.json")
    # Millimetres by one reference length are no others; only errors of one scale are compared.
    about = {key: report["scale_source"] for key in ("scale_source",) if report.get(key)}
    groups = independent_units([case.get("group") for case in cases])
    if len(set(groups.tolist())) < len(cases):
        about["groups"] = groups.tolist()
    record_results(
        path,
        metrics,
        config,
        seed,
        sample_ids=[case["sample_id"] for case in cases],
        landmarks=np.array([case["gt"] for case in cases], dtype=float),
        # In the order of the sorted ids, like the hash of the split.
        image_errors=dict(
            unit=predictions["unit"], **about, mean=[float(f"{error:.5g}") for error in errors]
        ),
        **_of_landmarks(report),
        **extra,
    )


def _report(path: Path) -> dict[str, Any]:
    """Return the report beside the predictions; empty if there is none."""
    return read_state(path, _AGAIN) if path.is_file() else {}


def _of_landmarks(content: dict[str, Any]) -> dict[str, Any]:
    """Return ``landmark_errors``, the results of every landmark, if there is a report of them."""
    if not content:
        return {}
    columns: dict[str, Any] = {
        key: [row[key] for row in content["landmarks"]] for key in ("name", "mre", "median")
    }
    for n, radius in enumerate(content["radii"]):
        columns[f"sdr_{radius:g}"] = [row["sdr"][n] for row in content["landmarks"]]
    return dict(landmark_errors=dict(unit=content["unit"], **_short(columns)))


def _short(columns: dict[str, Any]) -> dict[str, Any]:
    """Return columns with as many digits as mean something."""
    return {
        key: [float(f"{value:.5g}") if isinstance(value, float) else value for value in column]
        for key, column in columns.items()
    }
