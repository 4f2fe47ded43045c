"""What is known about a trained detector: results of its tests, and the effect of half precision."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmlandmark.engine.run_folder import name_of_test
from mmlandmark.evaluation import Origin
from mmlandmark.inference.origin import origin_of
from mmlandmark.inference.predicting import items_of_test, predict_dataset
from mmlandmark.models.model_file import ModelFile
from mmlandmark.utils.dataset_tree import leaf_configs
from mmlandmark.utils.files import read_state

_WITH_OTHER_VALUES = re.compile(r"_[0-9a-f]{8}")


def results_beside(checkpoint: str | Path, config: dict[str, Any]) -> dict[str, Any]:
    """Return the results of the tests of a checkpoint, from the folder of its run.

    Tests with other values than those of the training, such as ``--flip``, do not count.

    Args:
        checkpoint: The file.
        config: Of the model file, for the name of the test data.

    Returns:
        Name of the test -> ``data``, ``unit``, ``images``, ``mre``, ``sd``, ``median``, ``p95``, ``sdr``
        (radius -> percent), ``landmarks`` (name -> mean error).
    """
    checkpoint = Path(checkpoint)
    found: dict[str, Any] = {}
    for folder in sorted({report.parent for report in checkpoint.parent.glob("test*/report*.json")}):
        note = folder / "test.json"
        label = name_of_test(note) if note.is_file() else folder.name
        if not _WITH_OTHER_VALUES.search(label):
            found |= results_in(folder, config, checkpoint.name)
    return found


def results_in(folder: str | Path, config: dict[str, Any], tested: str | None = None) -> dict[str, Any]:
    """Return the results of a test, see :func:`results_beside`.

    Args:
        folder: That ``mmlandmark test`` wrote.
        config: Of the model file, for the name of the test data.
        tested: Name of the file that must have been tested; None takes any.
    """
    found = {}
    for report in sorted(Path(folder).glob("report*.json")):
        content = read_state(report, "test again")
        if tested in (None, Path(str(content.get("tested"))).name):
            name = report.stem.replace("report", "test", 1)
            found[name] = dict(data=_data_of_test(config)) | _results(content)
    return found


def check_tested(folder: str | Path, model: ModelFile) -> str:
    """Check that a test was of this model; return what could not be checked.

    Args:
        folder: That ``mmlandmark test`` wrote.
        model: Whose results they are to be.

    Raises:
        ValueError: Its predictions are of other weights, or were made with other options.
    """
    own, unknown = origin_of(model), []
    for report in sorted(Path(folder).glob("report*.json")):
        path = report.with_name(report.name.replace("report", "predictions", 1))
        said = Origin.read(path) if path.is_file() else None
        if said is None:
            unknown.append(report.name)
        elif said.weights != own.weights:
            raise ValueError(f"{report} is about other weights than those of model {model.name!r}")
        elif said.answers != own.answers:
            what = ", ".join(said.differing_options(own)) or "parts of model or pipeline"
            raise ValueError(f"{report} is about other {what} than model {model.name!r} predicts with")
    if not unknown:
        return ""
    return f"{folder} does not say which weights were tested ({', '.join(unknown)}): make sure it was these"


def _results(report: dict[str, Any]) -> dict[str, Any]:
    overall, radii = report["overall"], report["radii"]
    numbers = {key: overall[key] for key in ("images", "mre", "sd", "median", "p95")}
    rates = {f"{radius:g}": rate for radius, rate in zip(radii, overall["sdr"], strict=True)}
    return dict(
        unit=report["unit"],
        **numbers,
        sdr=rates,
        landmarks={row["name"]: row["mre"] for row in report["landmarks"]},
    )


def _data_of_test(config: dict[str, Any]) -> str:
    leaves = leaf_configs((config.get("test_dataloader") or {}).get("dataset") or {})
    named = [(str(leaf.get("type", "")), leaf.get("split")) for leaf in leaves]
    return ", ".join(f"{kind} {split}" if split else kind for kind, split in named)


def half_difference(model: ModelFile, count: int = 8) -> tuple[float, str]:
    """Return the largest distance that half precision moves a point, in original pixels, and in what images.

    Args:
        model: In single precision.
        count: Number of images: of the test data if it can be read, or else of noise.
    """
    try:
        samples = items_of_test(model, count)
        what = f"{len(samples)} images of the test data"
    except (KeyError, OSError, ValueError, TypeError):  # not on this machine, or no test data at all
        rng, prepare = np.random.default_rng(0), model.transforms()
        shape = (256,) * 2 if model.schema.dims == 2 else (64,) * 3
        images = [rng.integers(0, 256, shape, dtype=np.uint8) for _ in range(count)]
        samples = [prepare(model.made_record(str(n), image)) for n, image in enumerate(images)]
        what = f"{count} images of noise"
    points = [_points(one, samples) for one in (model, model.halved())]
    distances = torch.linalg.vector_norm(points[0] - points[1], dim=-1)
    return float(distances[distances.isfinite()].max()), what


def _points(model: ModelFile, items: list[dict[str, Any]]) -> torch.Tensor:
    found = predict_dataset(model.detector(), items)
    return torch.stack([sample.pred_landmarks.double() for samples in found for sample in samples])


def with_half_difference(model: ModelFile) -> ModelFile:
    """Return the model with the effect of half precision among what is measured."""
    distance, what = half_difference(model)
    note = dict(largest_difference=round(distance, 6), unit="px", data=what)
    return replace(model, measured=model.measured | {"half precision": note})
