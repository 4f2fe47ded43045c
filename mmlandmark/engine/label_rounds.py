"""One round of pseudo labels: what a network said of all unlabelled images, and what of it counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.engine.training_state import BrokenStateError, as_count
from mmlandmark.shape import Regulated
from mmlandmark.structures import is_inside
from mmlandmark.utils.files import file_hash, read_state, write_state

FORMAT = "mmlandmark pseudo labels 1"
_AGAIN = "train that stage again"
_KINDS: dict[str, type] = dict(
    predicted=np.float32, points=np.float32, kept=np.bool_, deviation=np.float64, adjusted=np.bool_
)


@dataclass(frozen=True, eq=False)
class LabelRound:
    """Pseudo labels of N images.

    Attributes:
        epoch: Epochs that the network had been trained.
        ids: N names of samples.
        predicted: (N, K, D) float32 as the network said, original pixels, NaN where it said nothing.
        points: (N, K, D) float32 after their selection.
        kept: (N, K) bool: labels that are learnt from.
        deviation: (N, K) by which the adjustment moved, or would have moved, a landmark, NaN where unknown.
        adjusted: (N,) bool: shapes that are adjusted.
    """

    epoch: int
    ids: tuple[str, ...]
    predicted: np.ndarray
    points: np.ndarray
    kept: np.ndarray
    deviation: np.ndarray
    adjusted: np.ndarray

    @classmethod
    def of(
        cls, epoch: int, ids: Sequence[str], predicted: np.ndarray, chosen: Regulated, sizes: np.ndarray
    ) -> LabelRound:
        """Make a round of predictions and what a selector made of them.

        Args:
            epoch: See :class:`LabelRound`.
            ids: Likewise.
            predicted: (N, K, D) original pixels.
            chosen: What became of them. What lies outside of its image is not kept.
            sizes: (N, D) width, height[, depth] of the images.
        """
        points = chosen.points.astype(np.float32)
        inside = [is_inside(own, size[::-1]) for own, size in zip(points, sizes, strict=True)]
        kept = chosen.kept & np.array(inside, dtype=bool).reshape(chosen.kept.shape)
        return cls(
            epoch, tuple(ids), predicted.astype(np.float32), points, kept, chosen.deviation, chosen.adjusted
        )

    def among(self, ids: Sequence[str]) -> LabelRound:
        """Return the round of these images, some of which may have no prediction."""
        places = {name: n for n, name in enumerate(self.ids)}
        rows = [places.get(name, len(self.ids)) for name in ids]
        arrays: dict[str, Any] = {}
        for key, kind in _KINDS.items():
            values = getattr(self, key)
            blank = np.full((1, *values.shape[1:]), np.nan if np.issubdtype(kind, np.floating) else False)
            arrays[key] = np.concatenate([values, blank.astype(kind)])[rows]
        return LabelRound(self.epoch, tuple(ids), **arrays)

    @property
    def labels(self) -> np.ndarray:
        """(N, K, D) float32 labels, NaN where there is none to learn from."""
        return np.where(self.kept[..., None], self.points, np.float32(np.nan))

    def write(self, path: Path, names: Sequence[str]) -> str:
        """Write the round as JSON and return the SHA-256 of the file.

        Args:
            path: File to write, atomically.
            names: Of the K landmarks.
        """
        images = {}
        for n, name in enumerate(self.ids):
            images[name] = dict(
                predicted=_plain(self.predicted[n]),
                points=_plain(self.points[n]),
                kept=self.kept[n].tolist(),
                deviation=_plain(self.deviation[n]),
                adjusted=bool(self.adjusted[n]),
            )
        content = dict(format=FORMAT, epoch=self.epoch, landmarks=list(names), images=images)
        write_state(path, content, indent=None)
        return file_hash(path)

    @classmethod
    def read(cls, path: Path, ids: Sequence[str], shape: tuple[int, int]) -> LabelRound:
        """Read what :meth:`write` wrote.

        Args:
            path: The file.
            ids: The images that it must have, in the order that is wanted.
            shape: (K, D).

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is damaged, or of other images or landmarks.
        """
        content = read_labels(path)
        images = content["images"]
        if set(images) != set(ids):
            raise ValueError(
                f"{path}: these are not the pseudo labels of this run's {len(ids)} unlabelled images"
            )
        rows = [images[name] for name in ids]
        try:
            # null becomes NaN
            arrays: dict[str, Any] = {
                key: np.array([row[key] for row in rows], dtype=kind) for key, kind in _KINDS.items()
            }
            sizes = {key: arrays[key].shape[1:] for key in arrays}
            expected = dict(predicted=shape, points=shape, kept=shape[:1], deviation=shape[:1], adjusted=())
            if sizes != expected:
                raise ValueError(f"arrays of {sizes} instead of {expected}")
            return cls(as_count(content.get("epoch"), "epoch"), tuple(ids), **arrays)
        except (KeyError, TypeError, ValueError, BrokenStateError) as error:
            raise ValueError(f"{path}: these pseudo labels are damaged: {error}") from error


def read_labels(path: Path) -> dict[str, Any]:
    """Return what :meth:`LabelRound.write` wrote as plain values: ``epoch``, ``landmarks`` and ``images``.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged, or holds something else.
    """
    content = read_state(path, _AGAIN)
    lists = isinstance(content.get("images"), dict) and isinstance(content.get("landmarks"), list)
    if content.get("format") != FORMAT or not lists:
        raise ValueError(f"{path}: these are no pseudo labels: restore the file from a copy, or {_AGAIN}")
    return content


def read_rounds(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a ``rounds.json``, see :func:`summary`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged, or holds something else.
    """
    rows = read_state(path, _AGAIN).get("rounds")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(
            f"{path}: these are no rounds of pseudo labels: restore the file from a copy, or {_AGAIN}"
        )
    return rows


def summary(made: LabelRound, truth: np.ndarray, scale: np.ndarray | None) -> dict[str, Any]:
    """Return what a round amounts to, in numbers of landmarks and images.

    Args:
        made: The round.
        truth: (N, K, D) original pixels that the training does not know, NaN where nobody does.
        scale: (N, D, D) from steps in pixels to steps in mm; None measures errors in pixels.

    Returns:
        ``epoch``, ``images``, ``landmarks`` (predicted ones), ``adjusted`` (kept ones of adjusted shapes),
        ``masked`` (predicted, but not kept), and, where the truth is known, ``error_predicted`` of all
        predictions, ``error_kept`` of the labels that are learnt from, ``error_masked`` of the others as they
        were predicted, and ``unit``.
    """
    there = np.isfinite(made.predicted).all(axis=2)
    row: dict[str, Any] = dict(
        epoch=made.epoch,
        images=len(made.ids),
        landmarks=int(there.sum()),
        adjusted=int((made.kept & made.adjusted[:, None]).sum()),
        masked=int((there & ~made.kept).sum()),
    )
    if not np.isfinite(truth).all(axis=2).any():
        return row
    for key, points, some in (
        ("predicted", made.predicted, there),
        ("kept", made.points, made.kept),
        ("masked", made.predicted, there & ~made.kept),
    ):
        offsets = points.astype(np.float64) - truth
        errors = np.linalg.norm(offsets if scale is None else offsets @ scale.swapaxes(1, 2), axis=2)
        known = errors[some & np.isfinite(errors)]
        row[f"error_{key}"] = float(known.mean()) if len(known) else None
    return dict(row, unit="px" if scale is None else "mm")


def described(row: Mapping[str, Any]) -> str:
    """Return a row of :func:`summary` in words."""
    text = f"{row['landmarks']} landmarks in {row['images']} images, {row['adjusted']} adjusted"
    text += f", {row['masked']} masked"
    if row.get("error_predicted") is None:
        return text
    errors = [(name, row[f"error_{name}"]) for name in ("predicted", "kept", "masked")]
    shown = ", ".join(f"{name} {error:.3g}" for name, error in errors if error is not None)
    return f"{text}; true errors in {row['unit']}: {shown}"


def _plain(values: np.ndarray) -> Any:
    """Return an array as lists, NaN as None."""
    plain = values.astype(object)
    plain[np.isnan(values)] = None
    return plain.tolist()
