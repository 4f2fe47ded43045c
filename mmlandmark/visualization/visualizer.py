"""The visualizer for MMEngine's loops, which draws cases in the style of this package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import master_only
from mmengine.visualization import Visualizer
from torch import Tensor

from mmlandmark.registry import VISUALIZERS
from mmlandmark.structures import LandmarkDataSample, grid_unit, world_from_image
from mmlandmark.structures.coordinates import apply_matrix, invert_matrix, resize_matrix
from mmlandmark.utils.files import safe_name
from mmlandmark.visualization.heatmaps import VolumeHeat, blend_heatmap, feature_rows
from mmlandmark.visualization.overlay import draw_landmarks
from mmlandmark.visualization.style import save_image
from mmlandmark.visualization.volume_picture import VolumePicture


@VISUALIZERS.register_module()
class LandmarkVisualizer(Visualizer):
    """Draws annotated and predicted landmarks, in 2D and 3D.

    Names and links come from the dataset's metainfo, millimetres from the sample's spacing.

    Args:
        name: Name of the instance.
        long_side: Longest side of a drawn image in pixels, or None to keep the size of the image.
        show_names: Write names and errors beside the points.
        show_links: Join the points that the schema links.
        show_heatmaps: Blend the sample's ``pred_heatmaps``, if it has any, below the points.
        options: Arguments of MMEngine's ``Visualizer``.
    """

    def __init__(
        self,
        name: str = "visualizer",
        *,
        long_side: int | None = 1200,
        show_names: bool = True,
        show_links: bool = True,
        show_heatmaps: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(name, **options)
        self.long_side = long_side
        self.show_names, self.show_links, self.show_heatmaps = show_names, show_links, show_heatmaps

    def draw(
        self,
        image: np.ndarray | Tensor,
        data_sample: LandmarkDataSample | None = None,
        *,
        image_from_original: np.ndarray | None = None,
        window: tuple[float, float] | None = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
    ) -> np.ndarray:
        """Return a picture of one case.

        Args:
            image: (*S) or (*S, 3) array, or (C, *S) tensor.
            data_sample: The case; without it only the image is shown.
            image_from_original: (D+1, D+1) matrix from original pixels to those of ``image``: the sample's
                ``input_from_original`` for the network's input. By default ``image`` is the original image.
            window: (black, white) of the slices of a volume, see
                :class:`~mmlandmark.visualization.VolumePicture`.
            draw_gt: Draw the annotation if the sample has one.
            draw_pred: Draw the prediction if the sample has one.

        Returns:
            (H, W, 3) uint8 RGB.
        """
        sample = LandmarkDataSample() if data_sample is None else data_sample
        gt = _points(sample, "gt_landmarks") if draw_gt else None
        pred = _points(sample, "pred_landmarks") if draw_pred else None
        if gt is not None and sample.get("gt_visibility") is not None:
            gt[sample.gt_visibility.cpu().numpy() <= 0] = np.nan
        dims = next((points.shape[1] for points in (gt, pred) if points is not None), None)
        image = _array(image, dims or len(sample.get("ori_shape") or (0, 0)))
        dims = dims or (3 if image.ndim == 3 and image.shape[-1] not in (1, 3) else 2)
        matrix = np.eye(dims + 1) if image_from_original is None else np.asarray(image_from_original)
        errors, unit = _errors(gt, pred, sample.get("spacing"))
        drawn: dict[str, Any] = dict(
            names=self._names(gt, pred),
            errors=errors if self.show_names else None,
            unit=unit,
            links=(self.dataset_meta or {}).get("links", ()) if self.show_links else (),
            caption=_caption(sample, errors, unit),
        )
        gt, pred = (None if points is None else apply_matrix(matrix, points) for points in (gt, pred))
        if dims == 3:
            return self._draw_volume(image, gt, pred, sample, matrix, dict(drawn, window=window))
        if self.show_heatmaps and sample.get("pred_heatmaps") is not None:
            image = _blend(image, sample, matrix)
        return draw_landmarks(image, gt, pred, long_side=self.long_side, **drawn)

    def _draw_volume(
        self,
        volume: np.ndarray,
        gt: np.ndarray | None,
        pred: np.ndarray | None,
        sample: LandmarkDataSample,
        volume_from_original: np.ndarray,
        drawn: dict[str, Any],
    ) -> np.ndarray:
        """Return the projections of a volume, and the slices through its landmarks."""
        caption = drawn.pop("caption") or ""
        heat, world = None, world_from_image(sample.get("world_from_original"), volume_from_original)
        if self.show_heatmaps and sample.get("pred_heatmaps") is not None:
            heat = VolumeHeat(*_heatmaps(sample, volume_from_original))
        picture = VolumePicture(
            volume, gt, pred, world, _image_spacing(sample, volume_from_original), heat=heat, **drawn
        )
        return picture.sheet(caption)

    @master_only
    def add_datasample(
        self,
        name: str,
        image: np.ndarray | Tensor,
        data_sample: LandmarkDataSample | None = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        out_file: str | Path | None = None,
        step: int = 0,
        image_from_original: np.ndarray | None = None,
        window: tuple[float, float] | None = None,
    ) -> None:
        """Draw one case and store it.

        Args:
            name: Name of the picture in the backends.
            image: (*S) or (*S, 3) array, or (C, *S) tensor.
            data_sample: The case.
            draw_gt: Draw the annotation.
            draw_pred: Draw the prediction.
            show: Open a window.
            wait_time: Seconds the window stays open; 0 waits for a key.
            out_file: PNG to write instead of handing the picture to the backends.
            step: Step of the training the picture belongs to.
            image_from_original: See :meth:`draw`.
            window: See there.
        """
        picture = self.draw(
            image,
            data_sample,
            image_from_original=image_from_original,
            window=window,
            draw_gt=draw_gt,
            draw_pred=draw_pred,
        )
        self.set_image(picture)
        if show:
            self.show(picture, win_name=name, wait_time=wait_time)
        if out_file is not None:
            save_image(picture, out_file)
        else:
            self.add_image(safe_name(name), picture, step)

    @master_only
    def add_feature_maps(
        self,
        name: str,
        rows: Mapping[str, Sequence[tuple[str, Tensor]]],
        heatmaps: Sequence[str] = (),
        step: int = 0,
    ) -> None:
        """Draw where features of several networks are strong, and store it.

        Args:
            name: Name of the picture in the backends.
            rows: See :func:`~mmlandmark.visualization.feature_rows`, with tensors (C, *S).
            heatmaps: See there.
            step: Step of the training the picture belongs to.
        """
        arrays = {
            row: [(title, maps.detach().cpu().float().numpy()) for title, maps in titled]
            for row, titled in rows.items()
        }
        self.add_image(safe_name(name), feature_rows(arrays, heatmaps=heatmaps), step)

    def _names(self, gt: np.ndarray | None, pred: np.ndarray | None) -> list[str] | None:
        points = pred if gt is None else gt
        if not self.show_names or points is None:
            return None
        names = (self.dataset_meta or {}).get("landmark_names")
        return list(names) if names is not None else [str(i) for i in range(len(points))]


def _points(sample: LandmarkDataSample, key: str) -> np.ndarray | None:
    points = sample.get(key)
    return None if points is None else points.detach().cpu().double().numpy().copy()


def _array(image: np.ndarray | Tensor, dims: int) -> np.ndarray:
    """Return a tensor (C, *S) as an array (*S) or (*S, 3), and an array unchanged."""
    if not isinstance(image, Tensor):
        return np.asarray(image)
    array = image.detach().cpu().float().numpy() if image.is_floating_point() else image.cpu().numpy()
    if array.ndim == dims:
        return array
    return np.moveaxis(array, 0, -1) if len(array) == 3 and dims == 2 else array[0]


def _errors(
    gt: np.ndarray | None, pred: np.ndarray | None, spacing: tuple[float, ...] | None
) -> tuple[np.ndarray | None, str]:
    """Return errors in the original frame, in mm if the spacing is known, and their unit."""
    if gt is None or pred is None:
        return None, ""
    scale = np.ones(gt.shape[1]) if spacing is None else np.asarray(spacing)
    return np.linalg.norm((pred - gt) * scale, axis=1), grid_unit(len(scale)) if spacing is None else "mm"


def _image_spacing(sample: LandmarkDataSample, image_from_original: np.ndarray) -> list[float] | None:
    """Return D mm per pixel of the image drawn: the length of each of its axes' steps in the original."""
    if sample.get("spacing") is None:
        return None
    steps = invert_matrix(image_from_original)[:-1, :-1]
    return np.linalg.norm(np.asarray(sample.spacing)[:, None] * steps, axis=0).tolist()


def _caption(sample: LandmarkDataSample, errors: np.ndarray | None, unit: str) -> str | None:
    words = [str(sample.sample_id)] if sample.get("sample_id") is not None else []
    present = [] if errors is None else errors[np.isfinite(errors)]
    if len(present):
        worst = float(np.max(present))
        words.append(
            f"MRE {np.mean(present):.2f} {unit} over {len(present)} landmarks, worst {worst:.1f} {unit}"
        )
    return ": ".join(words) or None


def _blend(image: np.ndarray, sample: LandmarkDataSample, image_from_original: np.ndarray) -> np.ndarray:
    heatmaps, matrix = _heatmaps(sample, image_from_original)
    return blend_heatmap(image, heatmaps, heatmap_from_image=matrix)


def _heatmaps(sample: LandmarkDataSample, image_from_original: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the (K, *S) predicted heatmaps, and the matrix from pixels of the image drawn to theirs."""
    heatmaps = sample.pred_heatmaps.detach().cpu().float().numpy()
    heatmap_from_input = resize_matrix(sample.get("pad_shape", sample.input_shape), heatmaps.shape[1:])
    return heatmaps, heatmap_from_input @ sample.input_from_original @ invert_matrix(image_from_original)
