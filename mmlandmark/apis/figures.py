"""Figures of published methods, drawn from any run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor

from mmlandmark.engine import ConfigError, latest_checkpoint
from mmlandmark.engine.config import input_size
from mmlandmark.engine.inspection import annotated_maps, finest_blocks, seen_by
from mmlandmark.engine.trained_detector import load_detector
from mmlandmark.models.assembly import filled
from mmlandmark.models.detectors import BaseDetector
from mmlandmark.models.losses import HeatmapLoss, SpatialConfigurationLoss, spatial_features
from mmlandmark.models.taps import check_taps
from mmlandmark.registry import CODECS, DATASETS, MODELS
from mmlandmark.visualization import (
    blend_heatmap,
    feature_rows,
    plot_configuration,
    plot_loss_weights,
    save_image,
)
from mmlandmark.visualization.planes import flatten

_ERROR = 0.1  # where a loss is compared with a squared error


@dataclass
class _View:
    """A trained detector and one case of its test data, preprocessed."""

    model: BaseDetector
    config: Config
    inputs: Tensor  # (1, C, *S)
    image: np.ndarray  # (C, *S) before normalisation
    sample: Any


def draw_features(
    runs: Mapping[str, str | Path],
    path: str | Path,
    *,
    case: str | None = None,
    modules: Mapping[str, Sequence[str]] | None = None,
    options: dict[str, Any] | None = None,
) -> Path:
    """Draw the strength of features, the heatmaps and the annotation, one row per trained network.

    Like figures 5 and 6 of FSF-LD (Huang et al. 2022), for any networks.

    Args:
        runs: Name -> checkpoint, with its config beside it; or a work folder, for its newest checkpoint.
        path: PNG to write.
        case: Sample id in the test data; the default is the first one.
        modules: Name -> modules whose features are shown; by default the two finest decoder blocks of a
            U-Net, and the neck or the backbone of other networks.
        options: Values that override those of the runs' configs, such as the folder of the data.

    Raises:
        ConfigError: A run has no config.
        FileNotFoundError: There is no such checkpoint.
        ValueError: A module or the case does not exist, or networks have different numbers of modules.
    """
    rows = {}
    for name, source in runs.items():
        view = _view(source, case, options)
        paths = list((modules or {}).get(name) or finest_blocks(view.model))
        check_taps(view.model, paths, name)
        seen = seen_by(view.model, view.inputs, paths)
        annotated = annotated_maps(view.model, view.inputs, view.sample, seen[-1][1].shape[1:])
        maps = [("image", view.inputs[0]), *seen, ("annotated", annotated)]
        rows[name] = [(title, values.float().numpy()) for title, values in maps]
    picture = feature_rows(rows, heatmaps=("heatmaps", "annotated"), images=("image",))
    return save_image(picture, path)


def draw_configuration(
    runs: Mapping[str, str | Path],
    path: str | Path,
    *,
    case: str | None = None,
    options: dict[str, Any] | None = None,
) -> Path:
    """Draw the maps of position, and the correlations of landmarks in the annotation and in heatmaps.

    Like figures 4 and 5 of the spatial configuration loss (Ham and Oh 2023). The maps and the sharpness are
    those of the first run trained with the loss, or else the defaults.

    Args:
        runs: See :func:`draw_features`.
        path: See there.
        case: See there.
        options: See there.

    Raises:
        ConfigError: See :func:`draw_features`.
        FileNotFoundError: See there.
        ValueError: See there; or networks detect different numbers of landmarks, or a run is named
            "annotated".
    """
    if "annotated" in runs:
        raise ValueError("'annotated' is the row of the annotation: give the run another name")
    views = {name: _view(source, case, options) for name, source in runs.items()}
    losses = [loss for view in views.values() for loss in view.model.head.losses.values()]
    spatial = (loss for loss in losses if isinstance(loss, SpatialConfigurationLoss))
    loss = next(spatial, SpatialConfigurationLoss())
    rows: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
    for name, view in views.items():
        maps = view.model.raw_maps(view.inputs)
        truth = annotated_maps(view.model, view.inputs, view.sample, maps.shape[2:])[None]
        shown = {"annotated": (truth, truth), name: (maps, view.model.head.codec.activate(maps))}
        for title, (heatmaps, seen) in shown.items():
            if title not in rows:
                picture = _over(view.image, seen[0].numpy())
                rows[title] = (picture, *_embedded(loss, heatmaps, view.sample.mask[None]))
    counts = {len(row[1]) for row in rows.values()}
    if len(counts) > 1:
        raise ValueError(f"the runs detect {sorted(counts)} landmarks; compare runs that detect the same")
    features = spatial_features(loss.features, maps.shape[2:]).numpy()
    return plot_configuration(features, _feature_names(loss, maps.shape[2:]), rows, path)


def draw_loss_weights(configs: Mapping[str, Config], path: str | Path) -> Path:
    """Draw the weight that losses give to an error, relative to a squared one, near a landmark and far away.

    Like figure 4 of FARNet (Ao and Wu 2023), for any loss that compares pixels.

    Args:
        configs: Name -> config of a run.
        path: PNG to write.

    Raises:
        ConfigError: A config has no such loss.
    """
    heights, by_height, by_distance = torch.linspace(0, 1, 101), {}, {}
    for name, config in configs.items():
        loss = _pixel_loss(config, name)
        distances, profile = _profile(config)
        by_height[name] = heights.numpy(), _weights(loss, heights).numpy()
        by_distance[name] = distances.numpy(), _weights(loss, profile).numpy()
    return plot_loss_weights(by_height, by_distance, path)


def _weights(loss: HeatmapLoss, heights: Tensor) -> Tensor:
    """Return the loss of an error of 0.1 on targets of these heights, divided by its square."""
    target = heights[None, None].float()
    return loss.pointwise(target + _ERROR, target)[0, 0] / _ERROR**2


def _profile(config: Config) -> tuple[Tensor, Tensor]:
    """Return distances from a landmark in pixels, and the heights of the codec's target there."""
    size = input_size(config)
    codec = CODECS.build(filled(CODECS, config.model.head.codec, num_landmarks=1, dims=2))
    if size is None or len(size) != 2:
        raise ConfigError(f"the test pipeline makes images of {size}; two sides are needed")
    height, width = size
    center = torch.tensor([[[width // 2, height // 2]]], dtype=torch.float32)
    ones = torch.ones(1, 1)
    line = codec.encode(center, ones > 0, ones, size, size).heatmaps[0, 0, height // 2, width // 2 :]
    flat = (line > 0.01 * line.max()).nonzero().max() + 1
    return torch.arange(len(line))[: 3 * flat // 2], line[: 3 * flat // 2]


def _pixel_loss(config: Config, name: str) -> HeatmapLoss:
    given = config.model.head.loss
    for section in [given] if isinstance(given, dict) else given:
        loss = MODELS.build(dict(section))
        loss = loss.heatmap_loss if isinstance(loss, SpatialConfigurationLoss) else loss
        if isinstance(loss, HeatmapLoss):
            return loss
    raise ConfigError(f"{name}: model.head.loss does not compare pixels, so there is no weight to draw")


def _over(image: np.ndarray, heatmaps: np.ndarray) -> np.ndarray:
    """Return the first channel of an image (C, *S) with heatmaps (K, *S') blended over it, (H, W, 3)."""
    return blend_heatmap(flatten(image[0]), np.stack([flatten(heatmap) for heatmap in heatmaps]))


def _embedded(
    loss: SpatialConfigurationLoss, heatmaps: Tensor, mask: Tensor
) -> tuple[np.ndarray, np.ndarray]:
    if heatmaps.shape[1] != mask.shape[1]:
        raise ValueError(
            f"there are {heatmaps.shape[1]} maps for {mask.shape[1]} landmarks: several annotators?"
        )
    embedding = loss.embedding(heatmaps)[0].numpy()
    return embedding, loss.correlations(heatmaps, mask)[0].numpy()


def _feature_names(loss: SpatialConfigurationLoss, size: Sequence[int]) -> list[str]:
    known = {
        "cartesian": ["x", "y", "z"][: len(size)],
        "polar": ["radius", "angle", "second angle"][: len(size)],
    }
    names = []
    for feature in loss.features:
        title = feature if isinstance(feature, str) else str(feature["type"])
        count = len(spatial_features([feature], size))
        names += known.get(title) or [title if count == 1 else f"{title} {i}" for i in range(count)]
    return names


@torch.no_grad()
def _view(source: str | Path, case: str | None, options: dict[str, Any] | None) -> _View:
    source = Path(source)
    checkpoint = latest_checkpoint(source) if source.is_dir() else source
    if checkpoint is None:
        raise FileNotFoundError(f"{source} holds no checkpoint")
    model, config = load_detector(checkpoint)
    model.requires_grad_(requires_grad=False)
    config.merge_from_dict(options or {})
    dataset = DATASETS.build(config.test_dataloader.dataset)
    ids = [str(dataset.get_data_info(i)["sample_id"]) for i in range(len(dataset))]
    if case is not None and case not in ids:
        raise ValueError(f"{source}: its test data has no case {case!r}; it has {ids[:5]} and others")
    packed = dataset[ids.index(case) if case is not None else 0]
    image = packed["data_samples"].unit_pixels(packed["inputs"]).numpy()
    data = model.data_preprocessor(dict(inputs=[packed["inputs"]], data_samples=[packed["data_samples"]]))
    return _View(model, config, data["inputs"], image, data["data_samples"][0])
