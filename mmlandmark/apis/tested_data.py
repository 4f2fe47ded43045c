"""Data to calibrate a detector on: its answers and the annotation, and whether they may be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmlandmark.apis.annotated_data import dataset_of, no_data
from mmlandmark.engine import ConfigError
from mmlandmark.engine.config_data import read_config_of_run
from mmlandmark.evaluation import LandmarkMetric, Origin, TestedCases
from mmlandmark.inference.origin import origin_of
from mmlandmark.inference.predicting import precision_of_test, predict_dataset
from mmlandmark.models.model_file import ModelFile
from mmlandmark.utils.dataset_tree import leaf_datasets
from mmlandmark.utils.files import load_json


@dataclass(frozen=True, eq=False)
class TestedPart:
    """Images that one network has predicted.

    Attributes:
        name: Where they come from, for messages.
        cases: Predictions and annotation.
        origin: Of the predictions; None if nobody knows.
        of_fold: Whether the folder says that a fold of a cross-validation predicted them.
    """

    __test__ = False  # pytest takes classes of such a name for tests

    name: str
    cases: TestedCases
    origin: Origin | None
    of_fold: bool = False


def read_tested(model: ModelFile, source: str | Path, batch_size: int = 4) -> list[TestedPart]:
    """Return predictions and annotation of data, one part for each network that predicted.

    Args:
        model: The detector, which predicts where the data are images.
        source: ``predictions.json`` of a test, or the folder that it is in; the folder of
            ``mmlandmark cross-validate``, of which every fold counts as its own network predicted it; an
            annotation file (JSON, CSV), of which the detector predicts all images; a config, of which it
            predicts the tested data.
        batch_size: Images of one size that are predicted together.

    Raises:
        FileNotFoundError: There is no such file or folder.
        ConfigError: A folder has no predictions, or a config no tested data.
        ValueError: The data have other landmarks than the detector.
    """
    path = Path(source)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder of data to calibrate on")
    files = _prediction_files(path)
    parts = [
        TestedPart(
            str(file),
            TestedCases.read(file),
            Origin.read(file),
            of_fold=file.parent.parent.name.startswith("fold_"),
        )
        for file in files
    ] or [TestedPart(str(path), _predicted(model, path, batch_size), origin_of(model))]
    for part in parts:
        if part.cases.landmarks != tuple(model.schema.landmarks):
            raise ValueError(
                f"{part.name} has {len(part.cases.landmarks)} landmarks ({part.cases.landmarks[0]}, ...), "
                f"the detector {len(model.schema)} ({model.schema.landmarks[0]}, ...)"
            )
    return parts


def check_tested(
    model: ModelFile, parts: Sequence[TestedPart], allow_seen: bool = False, allow_other: bool = False
) -> list[str]:
    """Check that data tell how sure a detector is; return what was checked, and what could not be.

    The predictions must be of the detector's weights, or of weights trained by the same config, such as those
    of the folds of a cross-validation. No network may have been trained on the images that it predicted.

    Args:
        model: The detector.
        parts: See :func:`read_tested`.
        allow_seen: Take images of the training set.
        allow_other: Take predictions of other detectors.

    Raises:
        ConfigError: The predictions are of another detector, or of images that it was trained on.
    """
    own, notes, fellows = origin_of(model), [], 0
    for part in parts:
        if part.origin is None:
            notes.append(
                f"{part.name} does not say which detector predicted it, as files of older versions and of "
                "pooled folds do: make sure that it was this one or a fold of its config"
            )
        elif not allow_other:
            fellows += _is_fellow(own, part)
        if not allow_seen:
            notes += _seen(own, part)
    if fellows:
        notes.append(
            f"{fellows} of {len(parts)} parts are predicted by other weights that the config of this "
            "detector made (its hash is the same), such as those of folds or seeds"
        )
    return notes


def _is_fellow(own: Origin, part: TestedPart) -> bool:
    """Return whether other weights of the same config predicted; ConfigError if another detector did."""
    there = part.origin
    assert there is not None
    same = there.weights == own.weights
    again = "test this one (--allow-other takes them all the same)"
    if not same and (not own.recipe or there.recipe != own.recipe):
        raise ConfigError(
            f"{part.name}: these are predictions of another detector: neither the weights nor the config of "
            f"the training are those of this one; {again}"
        )
    if there.answers != own.answers:
        what = ", ".join(there.differing_options(own)) or "parts of model or pipeline"
        raise ConfigError(
            f"{part.name}: these predictions were made with other {what} than this detector predicts with; "
            f"{again}"
        )
    return not same


def _seen(own: Origin, part: TestedPart) -> list[str]:
    """Return what could not be checked; ConfigError for images that the network was trained on."""
    if part.origin is None and part.of_fold:
        return [
            f"{part.name} does not say what its fold was trained on: make sure that it lacks these images"
        ]
    who = part.origin or own
    if who.trained_on is None:
        return [
            f"the detector does not say what it was trained on: make sure that {part.name} is no part of it"
        ]
    seen = who.seen(part.cases)
    if seen:
        raise ConfigError(
            f"{part.name}: the network was trained on {len(seen)} of these {len(part.cases)} images, e.g. "
            f"{seen[:3]}: its errors there are too small to calibrate on; give other images, or the folder "
            "of a cross-validation (--allow-seen takes them all the same)"
        )
    if "samples" not in who.trained_on:
        return [
            f"the detector names its training set only as a whole: make sure that {part.name} is no part "
            "of it"
        ]
    return []


def _prediction_files(path: Path) -> list[Path]:
    """Return the predictions in a folder, or the file itself if it is one; nothing for images."""
    if path.is_dir():
        folds = sorted(path.glob("fold_*/test/predictions.json"))
        own = [path / "predictions.json", path / "test" / "predictions.json"]
        found = folds or [file for file in own if file.is_file()][:1]
        if not found:
            if read_config_of_run(path) is None:
                raise ConfigError(no_data(path))
            raise ConfigError(
                f"{path}: no predictions in it; give the folder of mmlandmark test or cross-validate, "
                "an annotation file or a config"
            )
        return found
    if path.suffix.lower() != ".json":
        return []
    content = load_json(path)
    return [path] if isinstance(content, dict) and "cases" in content else []


def _predicted(model: ModelFile, path: Path, batch_size: int) -> TestedCases:
    """Return what a detector says of annotated images."""
    dataset, detector, metric = dataset_of(model, path), model.detector(), LandmarkMetric(unit="px")
    detector.test_cfg["spread"] = True
    for samples in predict_dataset(detector, dataset, batch_size, precision_of_test(model)):
        metric.process(None, [sample.to_dict() for sample in samples])
    names = next(iter(leaf_datasets(dataset))).metainfo["landmark_names"]
    return TestedCases.from_rows(metric.results, names)
