"""The common style of all pictures: a palette safe for colour-blind people, Matplotlib's settings, PNG."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.utils.files import atomic_path

# Okabe and Ito's palette, distinguishable under all common kinds of colour blindness. RGB.
SKY_BLUE = (86, 180, 233)
ORANGE = (230, 159, 0)
YELLOW = (240, 228, 66)
BLUE = (0, 114, 178)
VERMILLION = (213, 94, 0)
GREEN = (0, 158, 115)
PURPLE = (204, 121, 167)
WHITE = (255, 255, 255)
BLACK = (0, 0, 0)
PAPER = (24, 24, 24)

GT_COLOR = SKY_BLUE
PRED_COLOR = ORANGE
ERROR_COLOR = YELLOW
REGION_COLOR = YELLOW
LINK_COLOR = (200, 200, 200)
EDGE_COLOR = (130, 220, 185)  # letters of directions at the edges of slices
CYCLE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY_BLUE, BLACK)

_RC = {
    "figure.dpi": 100,
    "savefig.dpi": 150,
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "image.cmap": "gray",
    "image.interpolation": "nearest",
}


def hex_color(rgb: tuple[int, int, int]) -> str:
    """Return an RGB triple as ``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*rgb)


@contextmanager
def figure(
    rows: int = 1, columns: int = 1, size: tuple[float, float] = (6.4, 4.0), **options: Any
) -> Iterator:
    """Yield a Matplotlib figure and its axes in the common style, without a display or global state.

    Args:
        rows: Number of rows of axes.
        columns: Number of columns of axes.
        size: Width and height of the whole figure in inches.
        options: Passed to ``Figure.subplots``.

    Raises:
        ImportError: Matplotlib is not installed; the message says how to install it.
    """
    try:
        import matplotlib
        from cycler import cycler
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("figures need matplotlib: pip install matplotlib") from error
    style: Any = {**_RC, "axes.prop_cycle": cycler(color=[hex_color(color) for color in CYCLE])}
    with matplotlib.rc_context(style):
        canvas = Figure(figsize=size)
        yield canvas, canvas.subplots(rows, columns, **options)


def save_figure(canvas: Any, path: str | Path) -> Path:
    """Save a Matplotlib figure as PNG, atomically, and return its path."""
    path = _png_path(path)
    with atomic_path(path, durable=False) as temporary:
        canvas.savefig(temporary, format="png", facecolor="white")
    return path


def save_image(image: np.ndarray, path: str | Path) -> Path:
    """Save an RGB picture as PNG, atomically, and return its path.

    Args:
        image: (H, W, 3) uint8, RGB.
        path: File to write; it must end in ``.png``.

    Raises:
        ValueError: The picture is not RGB uint8, or the path does not end in ``.png``.
    """
    import cv2

    path = _png_path(path)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"{path}: a picture is (H, W, 3) uint8, got {image.shape} {image.dtype}")
    done, data = cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))
    if not done:
        raise ValueError(f"{path}: OpenCV could not encode a picture of shape {image.shape}")
    with atomic_path(path, durable=False) as temporary:
        temporary.write_bytes(data.tobytes())
    return path


def _png_path(path: str | Path) -> Path:
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"{path}: pictures are saved as PNG, give a path that ends in .png")
    return path


def to_rgb(image: np.ndarray, window: tuple[float, float] | None = None) -> np.ndarray:
    """Return any grey or colour image as displayable RGB.

    Without a window, eight-bit images keep their values; others are shown from their 0.5th to their 99.5th
    percentile.

    Args:
        image: (H, W), (H, W, 1) or (H, W, 3) in any real dtype; NaN is drawn black.
        window: (black, white) in values of the image.

    Returns:
        (H, W, 3) uint8, a copy.

    Raises:
        ValueError: It does not have the shape of an image.
    """
    image = np.asarray(image)
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3) or image.size == 0:
        raise ValueError(f"expected an image (H, W), (H, W, 1) or (H, W, 3), got {image.shape}")
    if image.dtype != np.uint8 or window is not None:
        values = image.astype(np.float32)
        low, high = percentile_window(values) if window is None else window
        scaled = (values - low) / max(float(high - low), 1e-12)
        image = np.nan_to_num(scaled, nan=0.0).clip(0, 1) * 255
    image = image.round().astype(np.uint8)
    return np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image.copy()


def percentile_window(values: np.ndarray) -> tuple[float, float]:
    """Return (black, white): the 0.5th and 99.5th percentile of all finite values."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = np.percentile(finite, (0.5, 99.5))
    if high <= low:  # a constant image, or one with few bright pixels: use its whole range
        low, high = finite.min(), finite.max()
    return float(low), float(high)
