"""A volume with its landmarks: projections, slices, and every landmark in three slices of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from mmlandmark.structures.coordinates import invert_matrix, resize_matrix
from mmlandmark.structures.frame import spacing_of
from mmlandmark.visualization import style
from mmlandmark.visualization.heatmaps import VolumeHeat, blend_heatmap
from mmlandmark.visualization.overlay import Landmarks, caption_band
from mmlandmark.visualization.pen import Pen
from mmlandmark.visualization.planes import PLANES, View, flatten, window_of
from mmlandmark.visualization.sheets import contact_sheet

_AXES = "xyz"
_SIDE = 600  # of a view in pixels
_SHOWN = 48  # landmarks that get slices of their own
_EXTENT = 0.25  # of the longest side of a volume, that those slices show
_ROOM = 2.6  # times the error, that they show at least
_THICKNESS = 0.02  # of the longest side of a volume: points that near a slice are drawn on it


@dataclass(frozen=True, eq=False)
class VolumePicture:
    """A volume with its landmarks, to be drawn.

    With ``world_from_volume``, views are the axial, coronal and sagittal one as radiologists see them, the
    head up, with letters at the edges (R right, L left, A front, P back, S head, I feet). Without it,
    axes are drawn as they are stored.

    Attributes:
        volume: (depth, H, W) in any real dtype, its axes in the order of :func:`read_image`.
        gt: (K, 3) voxels of ``volume``, (x, y, z); NaN where nothing is annotated.
        pred: (K, 3) voxels of ``volume``.
        world_from_volume: (4, 4) voxels of ``volume`` to mm in LPS.
        spacing: (3,) mm per voxel, (x, y, z), where ``world_from_volume`` is unknown.
        window: (black, white) of slices; by default those of :func:`planes.window_of`. Projections are shown
            from their own 0.5th to 99.5th percentile.
        names: K names to write; None writes none.
        errors: (K,) errors in ``unit``; by default the distances of ``pred`` from ``gt``, in mm or voxels.
        unit: Unit of ``errors``.
        links: Index pairs to join by a thin line.
        highlight: Indices of landmarks to ring in red.
        regions: (K, 3, 3) matrices in voxels^2 about the predictions, see :func:`draw_landmarks`.
        region_label: What the regions are.
        heat: Heatmaps to blend over the volume.

    Raises:
        ValueError: Shapes disagree.
    """

    volume: np.ndarray
    gt: np.ndarray | None = None
    pred: np.ndarray | None = None
    world_from_volume: np.ndarray | None = None
    spacing: Sequence[float] | None = None
    window: tuple[float, float] | None = None
    names: Sequence[str] | None = None
    errors: np.ndarray | None = None
    unit: str = "mm"
    links: Sequence[tuple[int, int]] = ()
    highlight: Sequence[int] | None = None
    regions: np.ndarray | None = None
    region_label: str = "region"
    heat: VolumeHeat | None = None

    def __post_init__(self) -> None:
        volume = np.asarray(self.volume)
        if volume.ndim != 3 or volume.size == 0:
            raise ValueError(f"expected a volume (depth, H, W), got {volume.shape}")
        gt, pred = _points(self.gt), _points(self.pred)
        steps = self.spacing
        if self.world_from_volume is not None:
            steps = spacing_of(self.world_from_volume)
        errors, unit = self.errors, self.unit
        if errors is None and gt is not None and pred is not None and len(gt) == len(pred):
            errors = np.linalg.norm((pred - gt) * (1.0 if steps is None else np.asarray(steps)), axis=1)
            unit = "voxels" if steps is None else "mm"
        for key, value in dict(
            volume=volume, gt=gt, pred=pred, errors=errors, unit=unit, spacing=steps
        ).items():
            object.__setattr__(self, key, value)
        self._on(View.whole(volume.shape, 2, self.scale, None))  # checks the numbers of landmarks

    @property
    def scale(self) -> np.ndarray:
        """(3,) lengths of a voxel in mm, or 1 where they are unknown."""
        return np.ones(3) if self.spacing is None else np.asarray(self.spacing, dtype=np.float64)

    @property
    def length(self) -> float:
        """Longest side of the volume in mm, or in voxels."""
        return float((np.array(self.volume.shape[::-1]) * self.scale).max())

    @cached_property
    def centers(self) -> np.ndarray:
        """(K, 3) annotated points, or predicted ones where nothing is annotated."""
        known = [points for points in (self.gt, self.pred) if points is not None]
        if not known:
            return np.empty((0, 3))
        return known[0] if len(known) == 1 else np.where(np.isnan(known[0]), known[1], known[0])

    # ---- the volume as a whole --------------------------------------------------------------------------

    def views(
        self, at: Sequence[float] | None = None, *, thickness: float | None = None, long_side: int = _SIDE
    ) -> np.ndarray:
        """Draw the volume along z, y and x side by side.

        Args:
            at: (3,) voxel to cut through; the default shows maximum projections.
            thickness: With ``at``, draw points up to this many mm from the slice, voxels if the spacing is
                unknown; the default is a fiftieth of the longest side.
            long_side: Longest side of a view in pixels.

        Returns:
            (H, W, 3) uint8 RGB.
        """
        return self._views(at, thickness, long_side)[0]

    def _views(
        self, at: Sequence[float] | None, thickness: float | None, long_side: int
    ) -> tuple[np.ndarray, str]:
        """Return the picture, and what a caption should say about its labels."""
        factor, pictures, note = self.scale * long_side / self.length, [], ""
        reach = (_THICKNESS * self.length if thickness is None else thickness) / self.scale
        heat = self.heat.overview(self.volume.shape) if self.heat is not None and at is None else None
        for axis in (2, 1, 0):
            view = View.whole(self.volume.shape, axis, factor, self.world_from_volume)
            cut = None if at is None else float(at[axis])
            canvas = view.picture(flatten(self.volume, axis, cut), None if cut is None else self._window)
            if heat is not None:
                plane = flatten(heat, axis)
                sides = [n for i, n in enumerate(self.volume.shape) if i != 2 - axis]
                matrix = resize_matrix(sides, plane.shape) @ invert_matrix(view.canvas_from_plane)
                canvas = blend_heatmap(canvas, plane, heatmap_from_image=matrix)
            elif self.heat is not None and cut is not None:
                shown = [self.heat.at(k, view.voxels(cut)) for k in range(len(self.heat.maps))]
                canvas = blend_heatmap(canvas, np.stack(shown), peak=self.heat.peak)
            near = self if cut is None else self._near(axis, cut, reach[axis])
            pen = Pen(canvas)
            note = near._on(view).draw(pen) or note
            view.write_letters(pen)
            title = _title(axis, cut, self.volume.shape, known=self.world_from_volume is not None)
            pen.text(title, pen.radius, pen.radius)
            pictures.append(canvas)
        return contact_sheet(pictures, 3, gap=4), note

    @cached_property
    def _window(self) -> tuple[float, float]:
        return window_of(self.volume) if self.window is None else self.window

    def _near(self, axis: int, cut: float, reach: float) -> VolumePicture:
        """Return the picture without the points that are further than ``reach`` voxels from a slice."""
        gt, pred = (
            None if p is None else np.where(np.abs(p[:, axis, None] - cut) > reach, np.nan, p)
            for p in (self.gt, self.pred)
        )
        return replace(self, gt=gt, pred=pred)

    def _on(self, view: View) -> Landmarks:
        """Return the landmarks on the canvas of a view."""
        gt, pred = (None if p is None else view.points(p) for p in (self.gt, self.pred))
        landmarks = Landmarks.checked(
            gt, pred, self.names, None, self.errors, self.unit, self.links, self.highlight
        )
        regions = None if self.regions is None else view.shadows(self.regions)
        return landmarks.with_regions(regions, self.region_label)

    # ---- every landmark ---------------------------------------------------------------------------------

    def slices(
        self, which: Sequence[int] | None = None, *, extent: float | None = None, width: int = 3 * _SIDE
    ) -> np.ndarray | None:
        """Draw three orthogonal slices through every landmark, enlarged, with its name and error.

        Slices go through the annotated point, or the predicted one where nothing is annotated. The other
        point is drawn at its place in the plane, however far from it.

        Args:
            which: Landmarks to show, in this order; by default all, but of more than 48 those in question and
                those with the largest errors.
            extent: Side of a slice in mm, voxels if the spacing is unknown; by default a quarter of the
                longest side of the volume. Where the error needs it, a slice shows more.
            width: Width of the picture in pixels, about.

        Returns:
            (H, W, 3) uint8 RGB; None if no landmark has a place.
        """
        chosen = self._chosen(which)
        if not chosen:
            return None
        columns = 3 if len(chosen) <= 24 else 4
        side = (width - 12 * (columns - 1)) // columns // 3 - 2
        extent = _EXTENT * self.length if extent is None else extent
        return contact_sheet([self._cell(k, side, extent) for k in chosen], columns)

    def _chosen(self, which: Sequence[int] | None) -> list[int]:
        placed = np.isfinite(self.centers).all(axis=1)
        if which is not None:
            return [k for k in which if placed[k]]
        chosen = np.flatnonzero(placed).tolist()
        if len(chosen) <= _SHOWN:
            return chosen
        errors = np.full(len(placed), -1.0) if self.errors is None else np.nan_to_num(self.errors, nan=-1.0)
        asked = set(self.highlight or ())
        return sorted(sorted(chosen, key=lambda k: (k not in asked, -errors[k]))[:_SHOWN])

    def _cell(self, k: int, side: int, extent: float) -> np.ndarray:
        """Return three slices through landmark ``k`` under its name and error."""
        center, alone = self.centers[k], self._alone(k)
        shown = extent
        if self.gt is not None and self.pred is not None:
            apart = np.abs((self.pred[k] - self.gt[k]) * self.scale).max()
            shown = max(extent, _ROOM * apart) if np.isfinite(apart) else extent
        tiles = []
        for axis in (2, 1, 0):
            view = View.around(center, axis, self.scale * side / shown, side, self.world_from_volume)
            canvas = view.picture(flatten(self.volume, axis, center[axis]), self._window)
            if self.heat is not None:
                values = self.heat.at(k, view.voxels(center[axis]))
                canvas = blend_heatmap(canvas, values, peak=self.heat.peak)
            pen = Pen(canvas)
            alone._on(view).draw(pen)
            view.write_letters(pen)
            tiles.append(canvas)
        row = contact_sheet(tiles, 3, gap=2)
        pen = Pen(np.full((20, row.shape[1], 3), style.PAPER, np.uint8))
        pen.font = 0.42
        pen.text(self._label(k), 3, 4, style.ORANGE if k in (self.highlight or ()) else style.WHITE)
        unit = "voxels" if self.spacing is None else "mm"
        width = f"{shown:.3g} {unit} wide"
        pen.text(width, row.shape[1] - pen.text_size(width)[0] - 3, 4, style.LINK_COLOR)
        return np.concatenate([pen.canvas, row])

    def _alone(self, k: int) -> VolumePicture:
        """Return the picture with one landmark alone, without its label."""

        def one(array: np.ndarray | None) -> np.ndarray | None:
            return None if array is None else array[[k]]

        mark = [0] if k in (self.highlight or ()) else None
        return replace(
            self, gt=one(self.gt), pred=one(self.pred), regions=one(self.regions),
            names=None, errors=np.full(1, np.nan), links=(), highlight=mark,
        )  # fmt: skip

    def _label(self, k: int) -> str:
        name = f"landmark {k}" if self.names is None else str(self.names[k])
        if self.errors is None or not np.isfinite(self.errors[k]):
            return name
        return f"{name}: {self.errors[k]:.2f} {self.unit}"

    # ---- both -------------------------------------------------------------------------------------------

    def sheet(self, caption: str, which: Sequence[int] | None = None) -> np.ndarray:
        """Draw the projections, the slices through every landmark below them, and a band with the caption.

        Args:
            caption: Text for the band, which also explains the marks.
            which: Landmarks to show in slices, see :meth:`slices`.

        Returns:
            (H, W, 3) uint8 RGB.
        """
        views, note = self._views(None, None, _SIDE)
        slices = self.slices(which)
        pictures = [views] if slices is None else [views, slices]
        shown, placed = len(self._chosen(which)), int(np.isfinite(self.centers).all(axis=1).sum())
        if slices is not None and shown < placed:
            note = f"{note} (slices: {shown} of {placed} landmarks)".strip()
        return self.captioned(contact_sheet(pictures, 1), f"{caption} {note}".strip())

    def captioned(self, picture: np.ndarray, caption: str) -> np.ndarray:
        """Return a picture of this volume over a band with a caption and the meaning of the marks."""
        key = self._on(View.whole(self.volume.shape, 2, self.scale, None)).key()
        width = picture.shape[1]
        pen = Pen(np.zeros((min(_SIDE, width), min(_SIDE, width), 3), np.uint8))
        return np.concatenate([picture, caption_band(pen, caption, key, width)])


def _points(points: np.ndarray | None) -> np.ndarray | None:
    if points is None:
        return None
    array = np.array(points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 3:
        raise ValueError(f"landmarks of a volume must be (K, 3), got {array.shape}")
    array[~np.isfinite(array).all(axis=1)] = np.nan
    return array


def _title(axis: int, cut: float | None, shape: tuple[int, ...], known: bool) -> str:
    across, down = (_AXES[i] for i in range(3) if i != axis)
    name = PLANES[axis] if known else f"along {_AXES[axis]}, {across} right, {down} down"
    return f"{name}, projection" if cut is None else f"{name}, slice {round(cut) + 1} of {shape[2 - axis]}"
