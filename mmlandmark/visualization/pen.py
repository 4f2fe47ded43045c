"""Marks and text on a canvas, scaled with its size."""

from __future__ import annotations

import numpy as np

from mmlandmark.visualization import style

_FONT = 0  # cv2.FONT_HERSHEY_SIMPLEX
_SUBPIXEL = 4  # OpenCV draws in 1/16 pixel
MANY = 30  # landmarks; more of them get smaller marks, and labels only where there is room


class Pen:
    """Draws anti-aliased marks at sub-pixel places, with a dark rim that shows on bone and on air.

    Args:
        canvas: (H, W, 3) uint8 RGB, drawn upon in place.
        scale: Factor on the size of marks and text, which follows the size of the canvas.
    """

    def __init__(self, canvas: np.ndarray, scale: float = 1.0) -> None:
        import cv2

        self.cv2, self.canvas = cv2, canvas
        side = float(np.sqrt(canvas.shape[0] * canvas.shape[1])) * scale
        self.radius = max(0.007 * side, 4.0)
        self.width = max(round(0.0024 * side), 1)
        self.rim = round(0.0009 * side) if self.width > 1 else 0  # it would fill a thin ring
        self.font = max(0.00048 * side, 0.38)
        self.stroke = max(round(0.0009 * side), 1)

    def make_room(self, points: np.ndarray) -> None:
        """Shrink the marks of many landmarks that are close together, (K, 2) on the canvas."""
        gap = median_gap(points)
        if len(points) > MANY and np.isfinite(gap):
            self.radius = float(np.clip(0.4 * gap, 2.0, self.radius))
            if self.radius < 4:
                self.width, self.rim = 1, 0

    def _strokes(self, color: tuple[int, int, int], width: int) -> tuple:
        rim = ((style.BLACK, width + 2 * self.rim),) if self.rim else ()
        return (*rim, (color, width))

    def _place(self, point: np.ndarray) -> tuple[int, int]:
        limit = 2**26  # far outside; larger numbers overflow in OpenCV
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

    def ellipse(self, center: np.ndarray, matrix: np.ndarray, color: tuple[int, int, int]) -> None:
        """Draw the outline of (x - c)^T A^-1 (x - c) <= 1; nothing if a number is missing.

        Args:
            center: (2,) c on the canvas.
            matrix: (2, 2) A in pixels^2 of the canvas, symmetric.
            color: RGB.
        """
        if not (np.isfinite(center).all() and np.isfinite(matrix).all()):
            return
        squares, axes = np.linalg.eigh(matrix)
        limit = 2**26
        lengths = (np.sqrt(squares.clip(0)) * (1 << _SUBPIXEL)).clip(0, limit).round().astype(int)
        angle = float(np.degrees(np.arctan2(axes[1, 1], axes[0, 1])))  # of the longer axis
        size = (int(lengths[1]), int(lengths[0]))
        for stroke, width in self._strokes(color, max(self.width // 2, 1)):
            args = (self._place(center), size, angle, 0, 360, stroke, width, self.cv2.LINE_AA, _SUBPIXEL)
            self.cv2.ellipse(self.canvas, *args)

    def region(self, center: np.ndarray) -> None:
        """Draw what stands for a region in a legend."""
        self.ellipse(center, self.radius**2 * np.eye(2), style.REGION_COLOR)

    def question(self, center: np.ndarray, grow: float = 1.0) -> None:
        """Draw the mark of a point (2,) that is in question."""
        self.ring(center, style.VERMILLION, grow)

    def text_size(self, text: str) -> tuple[int, int]:
        """Return width and height of a line of text in pixels."""
        (width, height), below = self.cv2.getTextSize(text, _FONT, self.font, self.stroke)
        return width, height + below

    def text(self, text: str, left: float, top: float, color: tuple[int, int, int] = style.WHITE) -> None:
        """Write text on a darkened box; an outline would not fit, since OpenCV 5 sets bold letters wider."""
        (width, height), below = self.cv2.getTextSize(text, _FONT, self.font, self.stroke)
        left, top, margin = round(left), round(top), max(self.stroke, round(0.1 * height))
        rows = slice(max(top - margin, 0), max(top + height + below + margin, 0))
        columns = slice(max(left - margin, 0), max(left + width + margin, 0))
        box = self.canvas[rows, columns]
        box[:] = (0.35 * box + 0.65 * np.asarray(style.PAPER)).astype(np.uint8)
        args = (text, (left, top + height), _FONT, self.font, color, self.stroke, self.cv2.LINE_AA)
        self.cv2.putText(self.canvas, *args)


def median_gap(points: np.ndarray) -> float:
    """Return the median distance of (K, 2) points from their nearest neighbour, NaN if there is none."""
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) < 2:
        return float("nan")
    gap = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(gap, np.inf)
    return float(np.median(gap.min(axis=1)))
