"""What a test leaves behind: pictures, and a result on record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config

from mmlandmark.apis.provenance import bare_dataset, describe_tested
from mmlandmark.engine import ConfigError, best_checkpoint, latest_checkpoint, stage_to_test
from mmlandmark.engine.config_data import read_config_of_run
from mmlandmark.evaluation import per_image_mean, record_results
from mmlandmark.registry import DATASETS
from mmlandmark.structures import LandmarkDataSample
from mmlandmark.utils.checkpoint import load_checkpoint
from mmlandmark.utils.config_hash import config_hash
from mmlandmark.utils.files import read_json, safe_name
from mmlandmark.visualization import (
    LandmarkVisualizer,
    plot_cumulative_errors,
    plot_landmark_errors,
    plot_training,
)
from mmlandmark.visualization.style import save_image


def find_checkpoint(config: Config, given: str | None) -> Path:
    """Return the checkpoint to test.

    Args:
        config: See :func:`prepare_config`.
        given: A path; ``last`` or None for the newest of the (last stage's) work folder; ``best`` for what
            a checkpoint hook with ``save_best`` kept there.

    Raises:
        FileNotFoundError: There is none.
    """
    if given not in (None, "last", "best"):
        return Path(given)
    _, folder = _tested_run(config)
    found = best_checkpoint(folder) if given == "best" else latest_checkpoint(folder)
    if found is None:
        if given == "best":
            raise FileNotFoundError(f"no best checkpoint in {folder}: set save_best in its checkpoint hook")
        raise FileNotFoundError(f"no checkpoint in {folder}: train first, or name one")
    return found


def draw_test_figures(config: Config, out_dir: str | Path) -> list[Path]:
    """Draw what :func:`~mmlandmark.apis.test_config` wrote to ``out_dir``.

    Cases of median, 95th percentile and largest mean error are overlaid; curves show cumulative error,
    the error of every landmark and, where a training log lies beside, the training.

    Returns:
        The PNG files written.

    Raises:
        FileNotFoundError: ``out_dir`` holds no predictions.
    """
    out = Path(out_dir)
    predictions = read_json(out / "predictions.json")
    cases, unit, names = predictions["cases"], predictions["unit"], predictions["landmark_names"]
    errors = np.array([case["errors"] for case in cases], dtype=float)
    name = Path(config.work_dir).name
    config, folder = _tested_run(config)
    given = config.test_evaluator if isinstance(config.test_evaluator, list) else [config.test_evaluator]
    radii = next((tuple(e["radii"]) for e in given if e.get("radii") and not e.get("prefix")), (2, 2.5, 3, 4))
    written = [
        plot_cumulative_errors({name: errors}, out / "cumulative_error.png", unit=unit, radii=radii),
        plot_landmark_errors(errors, names, out / "landmark_errors.png", unit=unit, radius=radii[0]),
    ]
    written += _draw_cases(config, cases, np.nanmean(errors, axis=1), out)
    logs = sorted(folder.glob("*/vis_data/scalars.json"))
    if logs:
        written.append(plot_training(logs, out / "training.png"))
    return written


def _tested_run(config: Config) -> tuple[Config, Path]:
    """Return config and folder of the run whose checkpoint is tested: those of the last stage, if any."""
    config = stage_to_test(config, config.work_dir) if config.get("stages") else config
    return config, Path(config.work_dir)


def _draw_cases(config: Config, cases: list[dict], means: np.ndarray, out: Path) -> list[Path]:
    pipeline = [dict(type="LoadImage", fill_value=0.0)]
    dataset = DATASETS.build(bare_dataset(config.test_dataloader.dataset, pipeline))
    order = np.argsort(means)
    picked = {
        "median": order[len(order) // 2],
        "p95": order[int(0.95 * (len(order) - 1))],
        "worst": order[-1],
    }
    rows = {dataset.get_data_info(i)["sample_id"]: i for i in range(len(dataset))}
    visualizer = LandmarkVisualizer(f"figures_{out.resolve()}", long_side=1600)
    visualizer.dataset_meta = dataset.metainfo
    written = []
    for kind, index in picked.items():
        case = cases[index]
        loaded = dataset[rows[case["sample_id"]]]
        sample = LandmarkDataSample.from_landmarks(
            np.array(case["gt"], dtype=np.float32),
            sample_id=case["sample_id"],
            ori_shape=case["ori_shape"],
            spacing=case["spacing"],
        )
        sample.pred_landmarks = torch.tensor(np.array(case["pred"], dtype=np.float32))
        picture = visualizer.draw(loaded["img"], sample, image_from_original=loaded["img_from_original"])
        written.append(save_image(picture, out / f"case_{kind}_{safe_name(case['sample_id'])}.png"))
    return written


def check_trained_as(config: Config, checkpoint: str | Path) -> None:
    """Refuse to call a result that of a config if the weights were trained with another one.

    That is told by the config which the training left beside its checkpoint; without one nothing is.

    Raises:
        ConfigError: It says other things than the tested config, folders, machine and seed aside.
        ValueError: It cannot be read as data.
    """
    trained = read_config_of_run(Path(checkpoint).parent)
    if trained is not None and config_hash(trained[0]) != config_hash(_tested_run(config)[0]):
        raise ConfigError(
            f"{checkpoint} was not trained with {config.filename} as it is now, but with {trained[1]}: "
            "name a file for its record"
        )


def record_test(
    config: Config,
    checkpoint: str | Path,
    metrics: dict[str, float],
    out_dir: str | Path,
    path: str | Path | None = None,
) -> Path:
    """Record a test as JSON, with all that is needed to get it again.

    Args:
        config: The tested config.
        checkpoint: The tested weights; seed and epoch are read from it.
        metrics: What :func:`~mmlandmark.apis.test_config` returned.
        out_dir: Where it wrote its predictions.
        path: File to write; ``results/<config>_seed<seed>.json`` beside the config by default.

    Raises:
        ConfigError: No path is given and the config did not come from a file.
    """
    meta = load_checkpoint(checkpoint).get("meta", {})
    seed = meta.get("seed")
    if path is None:
        if not config.filename:
            raise ConfigError("--record needs a path: this config did not come from a file")
        source = Path(config.filename)
        path = source.parent / "results" / f"{source.stem}_seed{seed}.json"
    extra = {
        key: meta[key] for key in ("members", "seeds", "inputs", "trained_on", "precision") if key in meta
    }
    extra |= describe_tested(_tested_run(config)[0], checkpoint)
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
        metrics: Its numbers.
        seed: Of the training.
        out_dir: Where ``predictions.json`` lies.
        extra: Further entries in plain types.
    """
    predictions = read_json(Path(out_dir) / "predictions.json")
    cases = sorted(predictions["cases"], key=lambda case: case["sample_id"])
    errors = per_image_mean(np.array([case["errors"] for case in cases], dtype=float))
    record_results(
        path,
        metrics,
        config,
        seed,
        sample_ids=[case["sample_id"] for case in cases],
        landmarks=np.array([case["gt"] for case in cases], dtype=float),
        # In the order of the sorted ids, which the split's hash stands for.
        image_errors=dict(unit=predictions["unit"], mean=[float(f"{error:.5g}") for error in errors]),
        **extra,
    )
