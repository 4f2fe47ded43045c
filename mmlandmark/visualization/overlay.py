"""Landmarks drawn on their image: ground truth, prediction, the error between them, names and millimetres."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mmlandmark.structures.coordinates import apply_matrix, resize_matrix
from mmlandmark.visualization import style
from mmlandmark.visualization.labels import write_labels
from mmlandmark.visualization.pen import Pen


def draw_landmarks(
    image: np.ndarray,
    gt: np.ndarray | None = None,
    pred: np.ndarray | None = None,
    *,
    names: Sequence[str] | None = None,
    spacing: Sequence[float] | None = None,
    errors: np.ndarray | None = None,
    unit: str = "mm",
    links: Sequence[tuple[int, int]] = (),
    caption: str | None = None,
    long_side: int | None = None,
    scale: float = 1.0,
    highlight: Sequence[int] | None = None,
    regions: np.ndarray | None = None,
    region_label: str = "region",
) -> np.ndarray:
    """Draw ground truth (blue rings), predictions (orange crosses) and errors (yellow lines) on an image.

    Markers, lines and text grow with the image, so a radiograph of 2400 pixels reads like one of 240. Where
    many landmarks are close together, markers shrink, and only the largest errors get labels, or, without
    errors, landmarks get numbers (positions in the schema) as far as there is room; names of up to three
    letters stay.
    Missing points (NaN) are left out; points outside the image are cut off.

    Args:
        image: (H, W), (H, W, 1) or (H, W, 3), RGB if it has colour, any real dtype.
        gt: (K, 2) pixels of ``image``, (x, y), NaN where nothing is annotated.
        pred: (K, 2) pixels of ``image``, (x, y).
        names: K names to write beside the points.
        spacing: (2,) mm per pixel, (x, y); with ``gt`` and ``pred`` the error is written in mm.
        errors: (K,) errors in ``unit`` to write beside the points, instead of those from ``spacing``.
        unit: Unit of ``errors``.
        links: Index pairs to join by a thin line, through predictions if there are any.
        caption: Text for a band below the image, which also explains the marks.
        long_side: Length in pixels to resize the longer side to, or None to keep the size.
        scale: Factor on the size of markers and text.
        highlight: Indices of landmarks to ring in red; with ``names`` only these are labelled.
        regions: (K, 2, 2) matrices A in pixels^2 of ``image``: the outline of (x - p)^T A^-1 (x - p) <= 1 is
            drawn about every prediction p; NaN for none.
        region_label: What the regions are, for the band.

    Returns:
        (H', W', 3) uint8 RGB: the size of ``image`` unless ``long_side`` or ``caption`` is given.

    Raises:
        ValueError: Shapes disagree.
    """
    landmarks = Landmarks.checked(gt, pred, names, spacing, errors, unit, links, highlight)
    landmarks = landmarks.with_regions(regions, region_label)
    canvas, matrix = _canvas(style.to_rgb(image), long_side)
    pen = Pen(canvas, scale)
    note = landmarks.moved(matrix).draw(pen)
    if caption is None:
        return canvas
    return np.concatenate([canvas, caption_band(pen, f"{caption} {note}".strip(), landmarks.key())])


@dataclass
class Landmarks:
    """The landmarks of one picture, see :func:`draw_landmarks`."""

    gt: np.ndarray | None
    pred: np.ndarray | None
    names: Sequence[str] | None
    errors: np.ndarray | None
    unit: str
    links: Sequence[tuple[int, int]]
    highlight: Sequence[int] | None
    regions: np.ndarray | None = None
    region_label: str = ""

    @classmethod
    def checked(
        cls,
        gt: np.ndarray | None,
        pred: np.ndarray | None,
        names: Sequence[str] | None,
        spacing: Sequence[float] | None,
        errors: np.ndarray | None,
        unit: str,
        links: Sequence[tuple[int, int]],
        highlight: Sequence[int] | None,
    ) -> Landmarks:
        """Return the landmarks, with errors in mm if there are none and the spacing is known."""
        gt, pred = _points(gt, "gt"), _points(pred, "pred")
        if gt is not None and pred is not None:
            if gt.shape != pred.shape:
                raise ValueError(
                    f"gt has shape {gt.shape} but pred has {pred.shape}: both must hold the same landmarks"
                )
            if errors is None and spacing is not None:
                errors, unit = np.linalg.norm((pred - gt) * np.asarray(spacing, dtype=float), axis=1), "mm"
        points = gt if pred is None else pred
        count = 0 if points is None else len(points)
        for label, values in (("names", names), ("errors", errors)):
            if values is not None and len(values) != count:
                raise ValueError(f"{label} has {len(values)} entries for {count} landmarks")
        return cls(gt, pred, names, errors, unit, links, highlight)

    def with_regions(self, regions: np.ndarray | None, label: str) -> Landmarks:
        """Return the landmarks with regions about their predictions."""
        if regions is None:
            return self
        array, count = np.asarray(regions, dtype=np.float64), 0 if self.pred is None else len(self.pred)
        if array.shape != (count, 2, 2):
            raise ValueError(
                f"regions must be ({count}, 2, 2) for {count} predictions to draw, got {array.shape}"
            )
        return replace(self, regions=array, region_label=label)

    def moved(self, matrix: np.ndarray) -> Landmarks:
        """Return the same landmarks on another canvas."""
        gt, pred = (None if p is None else apply_matrix(matrix, p) for p in (self.gt, self.pred))
        linear = matrix[:2, :2]
        regions = None if self.regions is None else linear @ self.regions @ linear.T
        return replace(self, gt=gt, pred=pred, regions=regions)

    def draw(self, pen: Pen) -> str:
        """Draw everything, and return what the caption should say about the labels."""
        gt, pred = self.gt, self.pred
        points = gt if pred is None else pred
        if points is None:
            return ""
        pen.make_room(points)
        for a, b in self.links:
            pen.line(points[a], points[b], style.LINK_COLOR, thin=True)
        if gt is not None and pred is not None:
            for start, end in zip(gt, pred, strict=True):
                pen.line(start, end, style.ERROR_COLOR)
        for center, region in self.drawn_regions():
            pen.ellipse(center, region, style.REGION_COLOR)
        for center in () if gt is None else gt:
            pen.ring(center)
        for center in () if pred is None else pred:
            pen.cross(center)
        for k in self.highlight or ():
            pen.question((points if gt is None else gt)[k], grow=1.5)
        if self.names is None and self.errors is None:
            return ""
        anchors = points if gt is None else gt if pred is None else np.where(np.isnan(gt), pred, gt)
        marks = np.concatenate([p for p in (gt, pred) if p is not None])
        return write_labels(pen, anchors, marks, self.names, self.errors, self.unit, self.highlight)

    def drawn_regions(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the (2,) centre and the (2, 2) matrix of every region that is known."""
        if self.pred is None or self.regions is None:
            return []
        pairs = zip(self.pred, self.regions, strict=True)
        return [(p, region) for p, region in pairs if np.isfinite(p).all() and np.isfinite(region).all()]

    def key(self) -> list[tuple[str, Callable]]:
        """Return the marks that are drawn and what they mean."""
        key: list[tuple[str, Callable]] = [("annotated", Pen.ring)] * (self.gt is not None)
        key += [("predicted", Pen.cross)] * (self.pred is not None)
        key += [(self.region_label, Pen.region)] * bool(self.drawn_regions())
        return key + [("in question", Pen.question)] * bool(self.highlight)


def _points(points: np.ndarray | None, label: str) -> np.ndarray | None:
    if points is None:
        return None
    array = np.array(points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 2:
        raise ValueError(f"{label} must be (K, 2) to be drawn on an image, got {array.shape}")
    array[~np.isfinite(array).all(1)] = np.nan
    return array


def _canvas(image: np.ndarray, long_side: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the image resized to ``long_side``, and the matrix that maps points to it."""
    import cv2

    size = image.shape[:2]
    if long_side is None or long_side == max(size):
        return image, np.eye(3)
    if long_side < 1:
        raise ValueError(f"long_side must be positive, got {long_side}")
    height, width = (max(round(side * long_side / max(size)), 1) for side in size)
    how = cv2.INTER_AREA if long_side < max(size) else cv2.INTER_CUBIC
    return cv2.resize(image, (width, height), interpolation=how), resize_matrix(size, (height, width))


def caption_band(
    pen: Pen, caption: str, entries: list[tuple[str, Callable]], width: int | None = None
) -> np.ndarray:
    """Return a dark band with a caption and the meaning of the marks.

    Args:
        pen: Of the picture above it, for the size of marks and text.
        caption: Text, wrapped to the width.
        entries: Meaning and mark of every entry of the key, see :meth:`Landmarks.key`.
        width: Of the band in pixels; the default is that of the picture.

    Returns:
        (H, width, 3) uint8 RGB.
    """
    width = pen.canvas.shape[1] if width is None else width
    line = pen.text_size("Ag")[1]
    height = round(1.6 * line)
    words = _wrap(pen, caption, width - line)
    key_width = sum(pen.text_size(text)[0] + 3 * line for text, _ in entries)
    rows = (key_width > 0) + len(words)
    band = Pen(np.full((height * rows + line // 2, width, 3), style.PAPER, np.uint8))
    for attribute in ("radius", "width", "rim", "font", "stroke"):
        setattr(band, attribute, getattr(pen, attribute))
    left = line / 2
    for text, mark in entries:
        mark(band, np.array([left + pen.radius, 0.5 * height + line / 4]))
        band.text(text, left + 2.8 * pen.radius, (height - line) / 2 + line / 4)
        left += pen.text_size(text)[0] + 3 * line
    for row, text in enumerate(words, start=rows - len(words)):
        band.text(text, line / 2, row * height + (height - line) / 2 + line / 4)
    return band.canvas


def _wrap(pen: Pen, text: str, width: float) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and pen.text_size(longer)[0] <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
