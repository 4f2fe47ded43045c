"""Landmarks drawn on their image: ground truth, prediction, the error between them, names and millimetres."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mmlandmark.structures.coordinates import apply_matrix, resize_matrix
from mmlandmark.visualization import style

_FONT = 0  # cv2.FONT_HERSHEY_SIMPLEX
_SUBPIXEL = 4  # OpenCV draws in 1/16 pixel
_FEW = 30  # landmarks that are always all labelled
_COVERED = 0.05  # of a picture, that the labels of more than a few may cover
_WORST = 12  # errors that are labelled where not all can be
_SHARED = 0.15  # of its box, that a label among many may share with others


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
) -> np.ndarray:
    """Draw ground truth (blue rings), predictions (orange crosses) and errors (yellow lines) on an image.

    Markers, lines and text grow with the image, so a radiograph of 2400 pixels reads like one of 240. Where
    many landmarks stand close together, markers shrink, and labels are given to the largest errors only, or,
    without errors, as numbers (positions in the schema) as far as there is room.
    Missing points (NaN) are left out; points outside the image are cut off.

    Args:
        image: (H, W), (H, W, 1) or (H, W, 3), RGB where it has colour, any real dtype.
        gt: (K, 2) pixels of ``image``, (x, y), NaN where nothing is annotated.
        pred: (K, 2) pixels of ``image``, (x, y).
        names: K names to write beside the points.
        spacing: (2,) mm per pixel, (x, y); with ``gt`` and ``pred`` the error is written in mm.
        errors: (K,) error to write beside the points in ``unit``, instead of one from ``spacing``.
        unit: Unit of ``errors``.
        links: Index pairs to join by a thin line (through predictions where there are any).
        caption: Text for a band below the image, which also explains the marks.
        long_side: Length in pixels to resize the longer side to, or None to keep the size.
        scale: Factor on the size of markers and text.
        highlight: Indices of landmarks to ring in red; with ``names`` only these are labelled.

    Returns:
        (H', W', 3) uint8 RGB: the size of ``image`` unless ``long_side`` or ``caption`` is given.

    Raises:
        ValueError: Shapes disagree.
    """
    gt, pred = _points(gt, "gt"), _points(pred, "pred")
    if gt is not None and pred is not None and gt.shape != pred.shape:
        raise ValueError(
            f"gt has shape {gt.shape} but pred has {pred.shape}: both must hold the same landmarks"
        )
    shown = pred if pred is not None else gt
    count = 0 if shown is None else len(shown)
    if errors is None and spacing is not None and gt is not None and pred is not None:
        errors, unit = np.linalg.norm((pred - gt) * np.asarray(spacing, dtype=np.float64), axis=1), "mm"
    for label, values in (("names", names), ("errors", errors)):
        if values is not None and len(values) != count:
            raise ValueError(f"{label} has {len(values)} entries for {count} landmarks")
    canvas, matrix = _canvas(style.to_rgb(image), long_side)
    gt, pred = (None if points is None else apply_matrix(matrix, points) for points in (gt, pred))
    pen = Pen(canvas, scale)
    pen.make_room(shown if shown is None else apply_matrix(matrix, shown))
    _draw_links(pen, gt, pred, links)
    if gt is not None and pred is not None:
        for start, end in zip(gt, pred, strict=True):
            pen.line(start, end, style.ERROR_COLOR)
    for points, draw in ((gt, pen.ring), (pred, pen.cross)):
        for point in () if points is None else points:
            draw(point)
    note = ""
    if shown is not None:
        for k in highlight or ():
            pen.ring((gt if gt is not None else pred)[k], style.VERMILLION, grow=1.5)
        if names is not None or errors is not None:
            note = _label(pen, gt, pred, names, errors, unit, highlight)
    if caption is not None:
        keys = [("annotated", Pen.ring)] * (gt is not None) + [("predicted", Pen.cross)] * (pred is not None)
        keys += [("in question", Pen.question)] * bool(highlight)
        canvas = np.concatenate([canvas, _band(pen, f"{caption} {note}".strip(), keys)])
    return canvas


class Pen:
    """Draws anti-aliased marks at sub-pixel places, with a dark rim to show on bone and on air."""

    def __init__(self, canvas: np.ndarray, scale: float = 1.0) -> None:
        import cv2

        self.cv2, self.canvas = cv2, canvas
        side = float(np.sqrt(canvas.shape[0] * canvas.shape[1])) * scale
        self.radius = max(0.007 * side, 4.0)
        self.width = max(round(0.0024 * side), 1)
        self.rim = round(0.0009 * side) if self.width > 1 else 0  # It would fill a thin ring.
        self.font = max(0.00048 * side, 0.38)
        self.stroke = max(round(0.0009 * side), 1)

    def make_room(self, points: np.ndarray | None) -> None:
        """Shrink the marks of many landmarks that stand close together, (K, 2) on the canvas."""
        usual = np.nan if points is None or len(points) <= _FEW else _usual_gap(points)
        if np.isfinite(usual):
            self.radius = float(np.clip(0.4 * usual, 2.0, self.radius))
            if self.radius < 4:
                self.width, self.rim = 1, 0

    def _strokes(self, color: tuple[int, int, int], width: int) -> tuple:
        rim = ((style.BLACK, width + 2 * self.rim),) if self.rim else ()
        return (*rim, (color, width))

    def _place(self, point: np.ndarray) -> tuple[int, int]:
        limit = 2**26  # Far outside; larger numbers overflow inside OpenCV.
        x, y = (
            np.clip(np.asarray(point, dtype=np.float64) * (1 << _SUBPIXEL), -limit, limit).round().astype(int)
        )
        return int(x), int(y)

    def line(
        self, start: np.ndarray, end: np.ndarray, color: tuple[int, int, int], thin: bool = False
    ) -> None:
        """Draw a line between two (2,) points, (x, y); nothing if one is missing."""
        if not (np.isfinite(start).all() and np.isfinite(end).all()):
            return
        for stroke, width in self._strokes(color, max(self.width // 2, 1) if thin else self.width):
            args = (self._place(start), self._place(end), stroke, width, self.cv2.LINE_AA, _SUBPIXEL)
            self.cv2.line(self.canvas, *args)

    def ring(
        self, center: np.ndarray, color: tuple[int, int, int] = style.GT_COLOR, grow: float = 1.0
    ) -> None:
        """Draw the mark of an annotated point (2,); nothing if it is missing."""
        if not np.isfinite(center).all():
            return
        radius = round(grow * self.radius * (1 << _SUBPIXEL))
        for stroke, width in self._strokes(color, self.width):
            args = (self._place(center), radius, stroke, width, self.cv2.LINE_AA, _SUBPIXEL)
            self.cv2.circle(self.canvas, *args)

    def cross(self, center: np.ndarray) -> None:
        """Draw the mark of a predicted point (2,); nothing if it is missing."""
        if not np.isfinite(center).all():
            return
        for stroke, width in self._strokes(style.PRED_COLOR, self.width):
            for slope in (1, -1):
                arm = 0.8 * self.radius * np.array([1, slope])
                args = (self._place(center - arm), self._place(center + arm), stroke, width)
                self.cv2.line(self.canvas, *args, self.cv2.LINE_AA, _SUBPIXEL)

    def question(self, center: np.ndarray) -> None:
        """Draw the mark of a point that is in question."""
        self.ring(center, style.VERMILLION)

    def text_size(self, text: str) -> tuple[int, int]:
        """Return width and height of a line of text in pixels."""
        (width, height), below = self.cv2.getTextSize(text, _FONT, self.font, self.stroke)
        return width, height + below

    def text(self, text: str, left: float, top: float, color: tuple[int, int, int] = style.WHITE) -> None:
        """Write on a darkened box: an outline does not fit, OpenCV 5 sets bolder letters wider."""
        (width, height), below = self.cv2.getTextSize(text, _FONT, self.font, self.stroke)
        left, top, margin = round(left), round(top), max(self.stroke, round(0.1 * height))
        rows = slice(max(top - margin, 0), max(top + height + below + margin, 0))
        columns = slice(max(left - margin, 0), max(left + width + margin, 0))
        box = self.canvas[rows, columns]
        box[:] = (0.35 * box + 0.65 * np.asarray(style.PAPER)).astype(np.uint8)
        args = (text, (left, top + height), _FONT, self.font, color, self.stroke, self.cv2.LINE_AA)
        self.cv2.putText(self.canvas, *args)


def _points(points: np.ndarray | None, label: str) -> np.ndarray | None:
    if points is None:
        return None
    array = np.array(points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 2:
        raise ValueError(f"{label} must be (K, 2) to be drawn on an image, got {array.shape}")
    array[~np.isfinite(array).all(1)] = np.nan
    return array


def _canvas(image: np.ndarray, long_side: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the image resized to ``long_side`` and the matrix that takes its points along."""
    import cv2

    size = image.shape[:2]
    if long_side is None or long_side == max(size):
        return image, np.eye(3)
    if long_side < 1:
        raise ValueError(f"long_side must be positive, got {long_side}")
    height, width = (max(round(side * long_side / max(size)), 1) for side in size)
    how = cv2.INTER_AREA if long_side < max(size) else cv2.INTER_CUBIC
    return cv2.resize(image, (width, height), interpolation=how), resize_matrix(size, (height, width))


def _draw_links(
    pen: Pen, gt: np.ndarray | None, pred: np.ndarray | None, links: Sequence[tuple[int, int]]
) -> None:
    points = pred if pred is not None else gt
    for a, b in links if points is not None else ():
        pen.line(points[a], points[b], style.LINK_COLOR, thin=True)


def _texts(count: int, names: Sequence[str] | None, errors: np.ndarray | None, unit: str) -> list[str]:
    """Return what stands beside every point."""
    parts = [[] if names is None else [str(name)] for name in names or [""] * count]
    for part, error in zip(parts, errors if errors is not None else (), strict=False):
        if np.isfinite(error):
            part.append(f"{error:.1f} {unit}".strip())
    return [": ".join(part) for part in parts]


def _usual_gap(points: np.ndarray) -> float:
    """Return the median distance of (K, 2) points from their nearest neighbour, NaN if there is none."""
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) < 2:
        return float("nan")
    gap = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(gap, np.inf)
    return float(np.median(gap.min(axis=1)))


def _label(
    pen: Pen,
    gt: np.ndarray | None,
    pred: np.ndarray | None,
    names: Sequence[str] | None,
    errors: np.ndarray | None,
    unit: str,
    highlight: Sequence[int] | None,
) -> str:
    """Write labels beside the points, as many as can be read; return what the caption should say of them."""
    anchors = pred if gt is None else gt if pred is None else np.where(np.isnan(gt), pred, gt)
    assert anchors is not None
    texts = _texts(len(anchors), names, errors, unit)
    if highlight is not None:
        chosen = set(highlight)
        limit = np.array(pen.canvas.shape[1::-1]) - 1.0
        # What is in question may lie outside: its label then stands at the border.
        kept = [None if points is None else points.clip(0, limit) for points in (gt, pred)]
        _draw_labels(pen, *kept, [text if k in chosen else "" for k, text in enumerate(texts)])
        return ""
    line, area = pen.text_size("Ag")[1], float(np.prod(pen.canvas.shape[:2]))
    covered = sum(float(np.prod(pen.text_size(text))) for text in texts)
    few = len(texts) <= _FEW or (covered < _COVERED * area and _usual_gap(anchors) > 1.2 * line)
    if few:
        numbers = [str(k) for k in range(len(texts))]
        _, shortened = _draw_labels(pen, gt, pred, texts, _texts(len(anchors), numbers, errors, ""))
        return "(numbers: positions in the schema)" if shortened else ""
    if errors is not None and np.isfinite(errors).any():
        room = int(np.clip(_COVERED * area / max(covered / len(texts), 1.0), 3, _WORST))
        worst = np.argsort(-np.nan_to_num(np.asarray(errors, dtype=float), nan=-1.0))[:room]
        kept = {int(k) for k in worst}
        _draw_labels(pen, gt, pred, [text if k in kept else "" for k, text in enumerate(texts)])
        return f"(labels: the {len(kept)} largest errors of {len(texts)})"
    written, _ = _draw_labels(pen, gt, pred, [str(k) for k in range(len(texts))], crowded=True)
    return f"(numbers: positions in the schema, {written} of {len(texts)})"


def _draw_labels(
    pen: Pen,
    gt: np.ndarray | None,
    pred: np.ndarray | None,
    texts: list[str],
    short: list[str] | None = None,
    crowded: bool = False,
) -> tuple[int, int]:
    """Write texts beside their points, where they cover as little as possible of marks and other texts.

    A text that finds no free place gives way to its ``short`` form; with ``crowded``, it is left out.
    Returns how many were written, and how many of them in short.
    """
    written = shortened = 0
    marks = np.concatenate([points for points in (gt, pred) if points is not None])
    marks = marks[np.isfinite(marks).all(1)]
    anchors = pred if gt is None else gt if pred is None else np.where(np.isnan(gt), pred, gt)
    taken = np.concatenate([marks - pen.radius, marks + pen.radius], axis=1)
    limit = np.array(pen.canvas.shape[1::-1])
    for k, (anchor, text) in enumerate(zip(anchors, texts, strict=True)):
        if not text or not np.isfinite(anchor).all() or (anchor < 0).any() or (anchor > limit).any():
            continue
        box, cost = _best_box(pen, anchor, text, taken, limit)
        if cost > _SHARED and short is not None:
            text, shortened = short[k], shortened + 1
            box, cost = _best_box(pen, anchor, text, taken, limit)
        if cost > _SHARED and crowded:
            continue
        pen.text(text, box[0], box[1])
        written += 1
        taken = np.concatenate([taken, box[None]])
    return written, shortened


def _best_box(
    pen: Pen, anchor: np.ndarray, text: str, taken: np.ndarray, limit: np.ndarray
) -> tuple[np.ndarray, float]:
    """Return the best box for a text beside a point, and the share of it that covers something."""
    boxes = _candidate_boxes(anchor, pen.text_size(text), 1.5 * pen.radius)
    cost = [_overlap(box, taken) + 4 * _outside(box, limit) for box in boxes]
    best = int(np.argmin(cost))
    return boxes[best], cost[best] / max(float((boxes[best][2:] - boxes[best][:2]).prod()), 1e-9)


def _candidate_boxes(anchor: np.ndarray, size: tuple[int, int], gap: float) -> np.ndarray:
    """Return (10, 4) boxes (left, top, right, bottom) around a point, the best liked first."""
    (x, y), (width, height) = anchor, size
    right, left, middle = x + gap, x - gap - width, x - width / 2
    level, above, below = y - height / 2, y - gap - height, y + gap
    corners = [(right, level), (left, level), (right, above), (right, below), (left, above), (left, below)]
    corners += [(middle, above), (middle, below), (middle, above - height), (middle, below + height)]
    starts = np.array(corners)
    return np.concatenate([starts, starts + size], axis=1)


def _overlap(box: np.ndarray, others: np.ndarray) -> float:
    shared = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    return float(shared.clip(0).prod(1).sum())


def _outside(box: np.ndarray, limit: np.ndarray) -> float:
    inside = (np.minimum(box[2:], limit) - np.maximum(box[:2], 0)).clip(0).prod()
    return float((box[2:] - box[:2]).prod() - inside)


def _band(pen: Pen, caption: str, entries: list[tuple[str, Callable]]) -> np.ndarray:
    """Return a dark band that explains the marks drawn and holds the caption, as wide as the image."""
    width = pen.canvas.shape[1]
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
