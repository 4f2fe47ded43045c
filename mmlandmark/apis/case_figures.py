"""Figures of a test: cases, errors, and the training before it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config

from mmlandmark.apis.tested_run import tested_run
from mmlandmark.registry import DATASETS
from mmlandmark.structures import LandmarkDataSample, grid_unit
from mmlandmark.utils.dataset_tree import bare_dataset
from mmlandmark.utils.files import read_state, safe_name
from mmlandmark.visualization import (
    LandmarkVisualizer,
    plot_cumulative_errors,
    plot_landmark_errors,
    plot_training,
)
from mmlandmark.visualization.style import save_image


def draw_test_figures(config: Config, out_dir: str | Path) -> list[Path]:
    """Draw the results that :func:`~mmlandmark.apis.test_config` wrote to ``out_dir``.

    Overlays show the cases of median, 95th percentile and largest mean error. Curves show the cumulative
    error, the error of every landmark and, if the work folder has a training log, the training.

    Returns:
        The PNG files written.

    Raises:
        FileNotFoundError: ``out_dir`` holds no predictions.
    """
    out = Path(out_dir)
    predictions = read_state(out / "predictions.json", "test again")
    cases, unit, names = predictions["cases"], predictions["unit"], predictions["landmark_names"]
    unit = grid_unit(len(cases[0]["gt"][0])) if unit == "px" else unit
    errors = np.array([case["errors"] for case in cases], dtype=float)
    name = Path(config.work_dir).name
    config, folder = tested_run(config)
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
            world_from_original=loaded["world_from_original"],
        )
        sample.pred_landmarks = torch.tensor(np.array(case["pred"], dtype=np.float32))
        picture = visualizer.draw(
            loaded["img"],
            sample,
            image_from_original=loaded["img_from_original"],
            window=loaded["window"],
        )
        written.append(save_image(picture, out / f"case_{kind}_{safe_name(case['sample_id'])}.png"))
    return written
