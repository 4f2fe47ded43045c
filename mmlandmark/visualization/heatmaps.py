"""Heatmaps over their image, and grids of heatmaps or feature maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmlandmark.structures.coordinates import resize_matrix
from mmlandmark.visualization import style
from mmlandmark.visualization.pen import Pen
from mmlandmark.visualization.planes import flatten

_OVERVIEW = 96  # voxels per side of the grid on which maps of a volume are projected


def blend_heatmap(
    image: np.ndarray,
    heatmaps: np.ndarray,
    *,
    heatmap_from_image: np.ndarray | None = None,
    peak: float | None = None,
    alpha: float = 0.75,
) -> np.ndarray:
    """Blend heatmaps over an image; where they are zero, the image is unchanged.

    Args:
        image: (H, W), (H, W, 1) or (H, W, 3), RGB if it has colour.
        heatmaps: (H', W'), or (K, H', W') to show their maximum; negative values and NaN count as zero.
        heatmap_from_image: (3, 3) matrix from pixels of ``image`` to pixels of the heatmap; by default the
            heatmap covers the whole image.
        peak: Value of the brightest colour; the default is the maximum.
        alpha: Opacity of the brightest value.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: The heatmaps have another shape.
    """
    import cv2

    canvas = style.to_rgb(image)
    heat: np.ndarray = np.nan_to_num(np.asarray(heatmaps, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    heat = heat.max(axis=0) if heat.ndim == 3 else heat
    if heat.ndim != 2 or heat.size == 0:
        raise ValueError(f"heatmaps must be (H, W) or (K, H, W), got {np.shape(heatmaps)}")
    height, width = canvas.shape[:2]
    if heatmap_from_image is None:
        heatmap_from_image = resize_matrix((height, width), heat.shape)
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    heat = cv2.warpAffine(heat, heatmap_from_image[:2].astype(np.float64), (width, height), flags=how)
    peak = float(heat.max()) if peak is None else float(peak)
    heat = (heat / peak).clip(0, 1) if peak > 0 else np.zeros_like(heat)
    colors = cv2.applyColorMap((heat * 255).round().astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    share = alpha * np.sqrt(heat)[..., None]  # the root makes the flanks of a Gaussian visible
    return (canvas * (1 - share) + colors * share).round().astype(np.uint8)


@dataclass(frozen=True)
class VolumeHeat:
    """Heatmaps of the landmarks of a volume, sampled where they are shown.

    Attributes:
        maps: (K, *S) values of at least 0.
        maps_from_volume: (4, 4) voxels of the volume to those of the maps.
    """

    maps: np.ndarray
    maps_from_volume: np.ndarray

    @property
    def peak(self) -> float:
        """The largest value of all maps, for the brightest colour."""
        return float(np.nanmax(self.maps))

    def at(self, k: int, voxels: np.ndarray) -> np.ndarray:
        """Return the values of map ``k`` at voxels (3, ...) of the volume, (x, y, z); 0 outside."""
        from scipy.ndimage import map_coordinates

        matrix = self.maps_from_volume
        offset = matrix[:3, 3].reshape(3, *[1] * (voxels.ndim - 1))
        places = np.tensordot(matrix[:3, :3], voxels, axes=1) + offset
        return map_coordinates(np.asarray(self.maps[k], np.float32), places[::-1], order=1, output=np.float32)

    def overview(self, shape: Sequence[int]) -> np.ndarray:
        """Return the maximum of all maps over a volume of ``shape`` (*S), on a grid of up to 96 per side."""
        from scipy.ndimage import affine_transform

        size = tuple(min(int(side), _OVERVIEW) for side in shape)
        matrix = self.maps_from_volume @ resize_matrix(size, shape)
        highest = np.asarray(self.maps, np.float32).max(axis=0)
        # scipy counts axes as arrays do.
        return affine_transform(highest, matrix[2::-1, 2::-1], matrix[2::-1, 3], size, order=1)


def heatmap_grid(
    heatmaps: np.ndarray,
    names: Sequence[str] | None = None,
    image: np.ndarray | None = None,
    *,
    columns: int | None = None,
    tile: int = 192,
    peak: float | None = None,
) -> np.ndarray:
    """Show every landmark's heatmap in its own tile, with its name and peak height.

    All tiles share one scale, so a channel without a peak is dark; if its maximum is below a tenth of the
    scale, its label is orange.

    Args:
        heatmaps: (K, *S); volumes are shown as maximum projections along z.
        names: K names; the default is numbers from 0.
        image: (*S) image below the heatmaps, in the frame of the heatmaps.
        columns: Number of tiles in a row; the default makes the grid about square.
        tile: Longer side of a tile in pixels.
        peak: Value of the brightest colour; the default is the maximum of all heatmaps.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: Names and heatmaps differ in number.
    """
    values = np.asarray(heatmaps, dtype=np.float32)
    maps = np.stack([flatten(heatmap) for heatmap in values])
    names = [str(i) for i in range(len(maps))] if names is None else list(names)
    if len(names) != len(maps):
        raise ValueError(f"{len(names)} names for {len(maps)} heatmaps")
    if image is None:
        image = np.zeros(maps.shape[1:], np.uint8)
    elif values.ndim == 4:
        image = flatten(np.asarray(image))
    ground = _fit(style.to_rgb(image), tile)
    top = np.nanmax(maps) if peak is None else peak
    tiles = [blend_heatmap(ground, plane, peak=top) for plane in maps]
    labels = [f"{name}: {np.nanmax(plane):.2f}" for name, plane in zip(names, maps, strict=True)]
    return _grid(tiles, labels, columns, marked=[np.nanmax(plane) < 0.1 * top for plane in maps])


def feature_grid(
    features: np.ndarray, *, limit: int = 64, columns: int | None = None, tile: int = 128
) -> np.ndarray:
    """Show channels of a feature map, each from its own 1st (dark) to 99th percentile (bright).

    Args:
        features: (C, *S); volumes are shown as maximum projections along z.
        limit: Show at most this many channels, the first ones.
        columns: Number of tiles in a row; the default makes the grid about square.
        tile: Longer side of a tile in pixels.

    Returns:
        (H, W, 3) uint8 RGB; every tile is labelled with the number of its channel.
    """
    import cv2

    tiles = []
    for channel in np.asarray(features, dtype=np.float32)[:limit]:
        plane = np.nan_to_num(flatten(channel), nan=0.0, posinf=0.0, neginf=0.0)
        low, high = np.percentile(plane, (1, 99))
        scaled = ((plane - low) / max(high - low, 1e-12)).clip(0, 1) * 255
        colors = cv2.applyColorMap(scaled.round().astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]
        tiles.append(_fit(np.ascontiguousarray(colors), tile))
    return _grid(tiles, [str(i) for i in range(len(tiles))], columns)


def feature_rows(
    rows: Mapping[str, Sequence[tuple[str, np.ndarray]]],
    *,
    heatmaps: Sequence[str] = (),
    images: Sequence[str] = (),
    tile: int = 224,
) -> np.ndarray:
    """Show the strength of features of several networks, one row per network.

    A tile is the mean square over channels, from its 1st percentile (dark) to its maximum (bright), on a
    square-root scale, which makes weak responses visible.

    Args:
        rows: Name of the network -> (name of the map, (C, *S)) from left to right, as many in every row;
            volumes are shown as maximum projections along z.
        heatmaps: Names of maps to show by their maximum over channels instead of the mean square.
        images: Names of maps that are images: their first channel is shown in grey.
        tile: Longer side of a tile in pixels.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: There are no maps, or rows differ in length.
    """
    import cv2

    columns = sorted({len(maps) for maps in rows.values()})
    if len(columns) != 1:
        raise ValueError(f"rows of feature maps must be of one length, got {columns}")
    tiles: list[np.ndarray] = []
    for maps in rows.values():
        for title, features in maps:
            values = np.asarray(features, dtype=np.float32)
            values = values.max(0) if title in heatmaps else np.square(values).mean(0)
            plane = np.nan_to_num(flatten(values), nan=0.0, posinf=0.0, neginf=0.0)
            low = np.percentile(plane, 1)
            scaled = np.sqrt(((plane - low) / max(plane.max() - low, 1e-12)).clip(0, 1)) * 255
            colors = cv2.applyColorMap(scaled.round().astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]
            if title in images:
                colors = style.to_rgb(flatten(np.asarray(features, dtype=np.float32)[0]))
            fitted = _fit(np.ascontiguousarray(colors), tile)
            if tiles and fitted.shape != tiles[0].shape:  # the proportions of deep maps differ by a pixel
                fitted = cv2.resize(fitted, tiles[0].shape[1::-1], interpolation=cv2.INTER_NEAREST)
            tiles.append(fitted)
    labels = [f"{name}: {title}" for name, maps in rows.items() for title, _ in maps]
    return _grid(tiles, labels, columns[0])


def _fit(image: np.ndarray, side: int) -> np.ndarray:
    import cv2

    factor = side / max(image.shape[:2])
    size = tuple(max(round(length * factor), 1) for length in image.shape[1::-1])
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST)


def _grid(
    tiles: list[np.ndarray], labels: list[str], columns: int | None, marked: Sequence[bool] = ()
) -> np.ndarray:
    """Return labelled tiles of one size in rows, separated by thin dark lines."""
    if not tiles:
        raise ValueError("there is nothing to show: no channel")
    columns = min(columns or math.ceil(math.sqrt(len(tiles))), len(tiles))
    gap, (height, width) = 2, tiles[0].shape[:2]
    rows = math.ceil(len(tiles) / columns)
    grid = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), style.PAPER, np.uint8)
    for i, (tile, label) in enumerate(zip(tiles, labels, strict=True)):
        canvas = np.ascontiguousarray(tile)
        pen = Pen(canvas)
        pen.font = min(pen.font, 0.95 * pen.font * width / max(pen.text_size(label)[0], 1), 0.45)
        pen.text(label, 3, 3, style.ORANGE if any(marked[i : i + 1]) else style.WHITE)
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        grid[top : top + height, left : left + width] = canvas
    return grid
