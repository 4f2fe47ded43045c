"""Names and errors beside the landmarks: as many as are readable, where they cover least."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmlandmark.visualization.pen import MANY, Pen, median_gap

_COVERED = 0.05  # of a picture, that the labels of many landmarks may cover
_SHORT = 3  # letters of a name that needs no number in its place
_WORST = 12  # errors that are labelled where not all can be
_SHARED = 0.15  # of its box, that a label among many may share with others


def write_labels(
    pen: Pen,
    anchors: np.ndarray,
    marks: np.ndarray,
    names: Sequence[str] | None,
    errors: np.ndarray | None,
    unit: str,
    highlight: Sequence[int] | None,
) -> str:
    """Write labels beside the landmarks, as many as are readable.

    Args:
        pen: Of the picture.
        anchors: (K, 2) points to label, NaN for none.
        marks: (N, 2) marks on the picture, which should stay visible.
        names: K names.
        errors: (K,) errors in ``unit``.
        unit: Unit of ``errors``.
        highlight: Indices of the only landmarks to label.

    Returns:
        What the caption should say about the labels.
    """
    texts = _texts(len(anchors), names, errors, unit)
    if highlight is not None:
        chosen = set(highlight)
        limit = np.array(pen.canvas.shape[1::-1]) - 1.0
        # What is in question may lie outside: its label then goes to the border.
        kept = [text if k in chosen else "" for k, text in enumerate(texts)]
        _place_labels(pen, anchors.clip(0, limit), marks.clip(0, limit), kept)
        return ""
    # Short names, which often are numbers, stay: a position would be taken for another landmark's name.
    own = names is not None and all(len(str(name)) <= _SHORT for name in names)
    tags = [str(name) for name in names] if own and names is not None else [str(k) for k in range(len(texts))]
    line, area = pen.text_size("Ag")[1], float(np.prod(pen.canvas.shape[:2]))
    covered = sum(float(np.prod(pen.text_size(text))) for text in texts)
    if len(texts) <= MANY or (covered < _COVERED * area and median_gap(anchors) > 1.2 * line):
        short = _texts(len(anchors), tags, errors, "")
        _, shortened = _place_labels(pen, anchors, marks, texts, short)
        return "(numbers: positions in the schema)" if shortened and not own else ""
    if errors is not None and np.isfinite(errors).any():
        room = int(np.clip(_COVERED * area / max(covered / len(texts), 1.0), 3, _WORST))
        worst = np.argsort(-np.nan_to_num(np.asarray(errors, dtype=float), nan=-1.0))[:room].tolist()
        _place_labels(pen, anchors, marks, [text if k in worst else "" for k, text in enumerate(texts)])
        return f"(labels: the {len(worst)} largest errors of {len(texts)})"
    written, _ = _place_labels(pen, anchors, marks, tags, crowded=True)
    return f"({'labels' if own else 'numbers: positions in the schema'}, {written} of {len(texts)})"


def _place_labels(
    pen: Pen,
    anchors: np.ndarray,
    marks: np.ndarray,
    texts: list[str],
    short: list[str] | None = None,
    crowded: bool = False,
) -> tuple[int, int]:
    """Write texts beside their points, where they cover as little as possible of marks and other texts.

    A text without a free place is replaced by its ``short`` form; with ``crowded`` it is left out.

    Returns:
        How many texts were written, and how many of them in short.
    """
    written = shortened = 0
    marks = marks[np.isfinite(marks).all(1)]
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
    """Return (10, 4) boxes (left, top, right, bottom) around a point, in order of preference."""
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


def _texts(count: int, names: Sequence[str] | None, errors: np.ndarray | None, unit: str) -> list[str]:
    """Return the label of every point."""
    parts = [[] if names is None else [str(name)] for name in names or [""] * count]
    for part, error in zip(parts, errors if errors is not None else (), strict=False):
        if np.isfinite(error):
            part.append(f"{error:.1f} {unit}".strip())
    return [": ".join(part) for part in parts]
