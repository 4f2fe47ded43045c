"""Predicted and annotated landmarks of many images side by side, as calibration and its checks need them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.evaluation.functional import PRESENT, outside_image
from mmlandmark.structures import Prediction
from mmlandmark.utils.files import read_state


@dataclass(frozen=True, eq=False)
class TestedCases:
    """N images with K landmarks, predicted and annotated, in original pixels.

    Attributes:
        sample_ids: N names.
        landmarks: K names.
        points: (N, K, D) predicted pixels, NaN where a landmark is not predicted.
        truth: (N, K, D) annotated pixels, NaN where a landmark is not annotated.
        spacing: (N, D) mm per pixel, NaN where it is unknown.
        scores: (N, K), see the codec; NaN where unknown.
        spread: (N, K, D, D) covariance in pixels^2, NaN where unknown.
        presence: (N, K) probability that the landmark is in the image, NaN where unknown.
        deviation: (N, K) standard deviations from where the other landmarks expect it, NaN where unknown.
        shapes: (N, D) sides of the image in pixels, in array order, NaN where unknown.

    Raises:
        ValueError: Sizes disagree.
    """

    __test__ = False  # pytest takes classes of such a name for tests

    sample_ids: tuple[str, ...]
    landmarks: tuple[str, ...]
    points: np.ndarray
    truth: np.ndarray
    spacing: np.ndarray
    scores: np.ndarray
    spread: np.ndarray
    presence: np.ndarray
    deviation: np.ndarray
    shapes: np.ndarray

    def __post_init__(self) -> None:
        images, count = len(self.sample_ids), len(self.landmarks)
        dims = self.points.shape[-1]
        for key, tail in (
            ("points", (count, dims)),
            ("truth", (count, dims)),
            ("spacing", (dims,)),
            ("scores", (count,)),
            ("spread", (count, dims, dims)),
            ("presence", (count,)),
            ("deviation", (count,)),
            ("shapes", (dims,)),
        ):
            if getattr(self, key).shape != (images, *tail):
                raise ValueError(
                    f"{images} tested cases of {count} landmarks need {key} {(images, *tail)}, got "
                    f"{getattr(self, key).shape}"
                )

    def __len__(self) -> int:
        return len(self.sample_ids)

    @property
    def dims(self) -> int:
        """Coordinates of a point, 2 or 3."""
        return self.points.shape[-1]

    @property
    def residuals(self) -> np.ndarray:
        """(N, K, D) annotated minus predicted, pixels; NaN where either is missing."""
        return self.truth - self.points

    @property
    def in_mm(self) -> bool:
        """Whether lengths are in mm: most images say their spacing."""
        return 2 * int(self.has_spacing.sum()) > len(self)

    @property
    def has_spacing(self) -> np.ndarray:
        """(N,) whether the spacing of an image is known."""
        return np.isfinite(self.spacing).all(axis=1)

    @property
    def unit(self) -> str:
        """``mm`` or ``pixels``, see :attr:`in_mm`."""
        return "mm" if self.in_mm else "pixels"

    @property
    def scale(self) -> np.ndarray:
        """(N, D) length of a pixel in :attr:`unit`, NaN where it is unknown."""
        return self.spacing if self.in_mm else np.ones_like(self.spacing)

    @property
    def errors(self) -> np.ndarray:
        """(N, K) radial errors in :attr:`unit`, NaN where there is none."""
        return np.linalg.norm(self.residuals * self.scale[:, None], axis=2)

    @property
    def spread_known(self) -> np.ndarray:
        """(N, K) whether the spread of a landmark is known."""
        return np.isfinite(self.spread).all(axis=(2, 3))

    @property
    def has_spread(self) -> bool:
        """Whether most predicted landmarks have a spread."""
        found = np.isfinite(self.points).all(axis=2)
        return bool(found.any() and self.spread_known[found].mean() > 0.5)

    def measurable(self, unit: str, with_spread: bool = False) -> tuple[TestedCases, dict[str, int]]:
        """Return the cases as a calibration counts them, and how much of them it leaves out.

        Points are withheld as in a prediction (see :func:`~mmlandmark.evaluation.withhold_absent`), and
        errors that cannot be measured lose their annotation.

        Args:
            unit: Of errors: ``mm`` leaves out images without a spacing.
            with_spread: Leave out predicted points without a spread.

        Returns:
            The cases; and the number of ``images`` without a spacing, of points without a ``spread``, and of
            ``withheld`` points.
        """
        with np.errstate(invalid="ignore"):
            found = np.isfinite(self.points).all(axis=2)
            gone = found & (outside_image(self.points, self.shapes) | (self.presence < PRESENT))
        images = np.zeros(len(self), dtype=bool) if unit != "mm" else ~self.has_spacing
        bare = found & ~gone & ~self.spread_known if with_spread else np.zeros_like(found)
        lost = (images[:, None] | bare)[..., None]
        cases = replace(
            self,
            points=np.where(gone[..., None], np.nan, self.points),
            scores=np.where(gone, 0.0, self.scores),
            truth=np.where(lost, np.nan, self.truth),
        )
        return cases, dict(images=int(images.sum()), spread=int(bare.sum()), withheld=int(gone.sum()))

    def select(self, chosen: np.ndarray) -> TestedCases:
        """Return some of the images, by (N,) bool or by their positions."""
        positions = np.flatnonzero(chosen) if np.asarray(chosen).dtype == bool else np.asarray(chosen)
        arrays = {f.name: getattr(self, f.name)[positions] for f in fields(self)[2:]}
        return replace(self, sample_ids=tuple(self.sample_ids[i] for i in positions), **arrays)

    @classmethod
    def joined(cls, parts: Sequence[TestedCases]) -> TestedCases:
        """Return the images of all parts, in their order.

        Raises:
            ValueError: There is no part, their landmarks differ, or an image occurs twice.
        """
        if not parts:
            raise ValueError("no tested cases are given")
        for part in parts:
            if part.landmarks != parts[0].landmarks or part.dims != parts[0].dims:
                raise ValueError(
                    f"tested cases of different landmarks cannot be joined: {parts[0].landmarks[:3]}... and "
                    f"{part.landmarks[:3]}..."
                )
        names = tuple(name for part in parts for name in part.sample_ids)
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        if twice:
            raise ValueError(
                f"{len(twice)} images are tested twice, e.g. {twice[:3]}: give each data set once"
            )
        arrays: dict[str, Any] = {
            f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(parts[0])[2:]
        }
        return replace(parts[0], sample_ids=names, **arrays)

    @classmethod
    def from_predictions(
        cls, predictions: Sequence[Prediction], truth: np.ndarray, spacing: np.ndarray | None = None
    ) -> TestedCases:
        """Return predictions beside their annotation.

        Args:
            predictions: N answers for one schema.
            truth: (N, K, D) original pixels, NaN where a landmark is not annotated.
            spacing: (N, D) mm per pixel; that of the images' frames by default.
        """
        if not predictions:
            raise ValueError("no predictions are given")
        first = predictions[0]
        points = np.stack([p.points for p in predictions])
        if spacing is None:
            unknown = (np.nan,) * points.shape[-1]
            spacing = np.array([unknown if p.spacing is None else p.spacing for p in predictions])
        return cls(
            sample_ids=tuple(p.sample_id for p in predictions),
            landmarks=tuple(first.schema.landmarks),
            points=points,
            truth=np.asarray(truth, dtype=np.float64),
            spacing=spacing,
            scores=np.stack([p.scores for p in predictions]),
            spread=_stacked([p.spread for p in predictions], (*points.shape[1:], points.shape[-1])),
            presence=_stacked([p.presence for p in predictions], points.shape[1:2]),
            deviation=_stacked([p.deviation for p in predictions], points.shape[1:2]),
            shapes=np.array([p.shape for p in predictions], dtype=np.float64),
        )

    @classmethod
    def from_rows(cls, rows: Sequence[dict[str, Any]], names: Sequence[str]) -> TestedCases:
        """Return cases as :class:`~mmlandmark.evaluation.LandmarkMetric` keeps them.

        Args:
            rows: N dicts with ``sample_id``, ``pred`` and ``gt`` (K, D), ``spacing`` (D,) or None, and, as
                far as known, ``scores``, ``spread``, ``presence``, ``deviation`` and ``ori_shape``.
            names: K names of the landmarks.
        """
        points = np.array([row["pred"] for row in rows], dtype=np.float64)
        tail = points.shape[1:]
        unknown = (None,) * points.shape[-1]

        def read(key: str, shape: tuple[int, ...]) -> np.ndarray:
            return _stacked([row.get(key) for row in rows], shape)

        return cls(
            sample_ids=tuple(str(row["sample_id"]) for row in rows),
            landmarks=tuple(str(name) for name in names),
            points=points,
            truth=np.array([row["gt"] for row in rows], dtype=np.float64),
            spacing=np.array(
                [unknown if row["spacing"] is None else row["spacing"] for row in rows], dtype=np.float64
            ),
            scores=read("scores", tail[:1]),
            spread=read("spread", (*tail, tail[-1])),
            presence=read("presence", tail[:1]),
            deviation=read("deviation", tail[:1]),
            shapes=read("ori_shape", tail[-1:]),
        )

    @classmethod
    def read(cls, path: str | Path) -> TestedCases:
        """Return the cases of a ``predictions.json`` that ``mmlandmark test`` wrote.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is not such a file; the message names it.
        """
        data = read_state(path, "test again")
        try:
            return cls.from_rows(data["cases"], data["landmark_names"])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ValueError(f"{path}: not a predictions file of mmlandmark test: {error!r}") from error


def _stacked(values: Sequence[Any], shape: tuple[int, ...]) -> np.ndarray:
    """Return (N, *shape) float64, NaN for values that are None."""
    missing = np.full(shape, np.nan)
    return np.stack([missing if value is None else np.array(value, dtype=np.float64) for value in values])


def words_of(left_out: Mapping[str, int]) -> list[str]:
    """Return in words what :meth:`TestedCases.measurable` left out; nothing where that is nothing."""
    texts = dict(
        images="images have no spacing and are left out: give the data their spacing.",
        spread="points are predicted without a spread and are left out of what needs it.",
        withheld="points lie outside of the image or are probably absent: a prediction withholds them, and "
        "they count as not predicted.",
    )
    return [f"{left_out[key]} {text}" for key, text in texts.items() if left_out.get(key)]
