"""The mean shape and its modes of variation, and shapes adjusted to them.

Point distribution model: Cootes, Taylor, Cooper and Graham, CVIU 1995. Adjustment and abnormal landmarks:
Chen et al., "Semi-supervised Anatomical Landmark Detection via Shape-regulated Self-training", section 3.1.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmlandmark.shape.alignment import (
    Alignment,
    Sides,
    align,
    chosen_side,
    find_typical,
    in_tangent_space,
    mean_rotation,
    mirror_image,
    normalised,
    present,
)
from mmlandmark.shape.shape_model import alike
from mmlandmark.shape.shape_prior import ShapePrior
from mmlandmark.utils.files import read_state, write_state

FORMAT = "mmlandmark point distribution model 1"
FEWEST_COMPLETE = 3  # shapes to learn modes from
_ROUNDS, _CONVERGED = 100, 1e-12
_UNEXPLAINED = 1e-3  # of the largest deviation that the modes explain: less is none, for a partial shape
_MOST_TESTED = 5000  # values, beyond which p-values of Shapiro and Wilk are not accurate


class Adjustment(NamedTuple):
    """N shapes adjusted to a model.

    Attributes:
        points: (N, K, D) adjusted, NaN where missing.
        deviation: (N, K) distance between a landmark and itself adjusted, in the unit of the shapes, or in mm
            with steps; NaN where missing, and without more than D landmarks.
        parameters: (N, M) shape parameters before they are limited, b_alpha; NaN where nothing is known.
    """

    points: np.ndarray
    deviation: np.ndarray
    parameters: np.ndarray


class Regulated(NamedTuple):
    """N shapes after adjustment and the detection of abnormal landmarks.

    Attributes:
        points: (N, K, D) adjusted if no landmark of the shape deviates by more than the limit, else as given.
        deviation: (N, K) as of :class:`Adjustment`.
        kept: (N, K) bool: neither missing nor abnormal.
        adjusted: (N,) bool: shapes that are adjusted.
    """

    points: np.ndarray
    deviation: np.ndarray
    kept: np.ndarray
    adjusted: np.ndarray


@dataclass(frozen=True)
class PointDistributionModel:
    """A mean shape and its modes of variation, whatever the position, rotation and size.

    A shape is ``mean + b @ components``, with independent normal ``b_k`` of standard deviation ``sigmas[k]``.

    Attributes:
        mean: (K, D) shape, centred, of root mean square radius 1, in the usual rotation of the shapes.
        components: (M, K * D) orthonormal modes, the largest first.
        sigmas: (M,) standard deviations of their parameters, in units of ``mean``.
        shares: (M,) parts of the whole variance.
        normality: (M, 2) Shapiro and Wilk's W, and p, of the parameters of the shapes it was fitted to.
        count: Number of these shapes.
        size: Their mean radius, in their unit.
        mirrored: Whether mirror images are as usual as shapes themselves.
    """

    mean: np.ndarray
    components: np.ndarray
    sigmas: np.ndarray
    shares: np.ndarray
    normality: np.ndarray
    count: int
    size: float
    mirrored: bool

    @classmethod
    def fit(
        cls, points: np.ndarray, variance: float = 0.9999, robust: bool = False
    ) -> PointDistributionModel:
        """Learn mean and modes.

        Args:
            points: (N, K, D) landmarks in isotropic units, NaN where missing.
            variance: Part of the variance that the modes hold.
            robust: Take mean and covariance from :class:`ShapePrior`, which tolerates wrong and missing
                landmarks, and shrinks the covariance of few shapes; else those of the complete shapes after
                generalized Procrustes analysis (Gower 1975), which have at most N - 1 modes.

        Raises:
            ValueError: There are fewer than 3 complete shapes of more than D landmarks, or, if robust, too
                few for :meth:`ShapePrior.fit`; or ``variance`` is not in (0, 1].
        """
        points = present(np.asarray(points, dtype=np.float64))
        if not 0 < variance <= 1:
            raise ValueError(f"variance must be above 0 and at most 1, got {variance}")
        if robust:
            mean, components, variances, mirrored = _robust(ShapePrior.fit(points))
        else:
            points = _complete(points)
            mean, components, variances, mirrored = _principal(points)
        kept = _leading(variances, variance)
        components, sigmas = components[:kept], np.sqrt(variances[:kept])
        shares = variances[:kept] / max(variances.sum(), 1e-300)
        unknown = np.full((kept, 2), np.nan)
        model = cls(mean, components, sigmas, shares, unknown, len(points), 1.0, mirrored)
        aligned, _ = model._aligned(points)
        known = np.isfinite(aligned.scales)
        # The mean gets the usual rotation of the shapes, so that pictures of it stand upright.
        upright = mean_rotation(aligned.rotations[known]).T
        return replace(
            model,
            mean=mean @ upright,
            components=(components.reshape(kept, *mean.shape) @ upright).reshape(components.shape),
            normality=shapiro_wilk(model.parameters(points)[known]),
            count=int(known.sum()),
            size=float(aligned.scales[known].mean()),
        )

    @property
    def movements(self) -> np.ndarray:
        """(M,) root mean square distance by which one standard deviation of a mode moves the landmarks.

        In the unit of the shapes, at their mean size.
        """
        return self.sigmas * self.size / np.sqrt(len(self.mean))

    def shape(self, parameters: np.ndarray) -> np.ndarray:
        """Return the shapes (..., K, D) of parameters (..., M), in the unit of the shapes, centred."""
        moved = np.asarray(parameters) @ self.components
        return self.size * (self.mean + moved.reshape(*moved.shape[:-1], *self.mean.shape))

    def parameters(self, points: np.ndarray) -> np.ndarray:
        """Return the shape parameters (N, M) of shapes (N, K, D); NaN without more than D landmarks."""
        return self._explained(self._aligned(self._checked(points))[0].shapes, np.inf)[0]

    def adjust(self, points: np.ndarray, steps: np.ndarray | None = None, width: float = 3.0) -> Adjustment:
        """Return the nearest usual shapes: parameters are limited to ``width`` standard deviations.

        Equations 3 to 6. Of a partial shape, the present landmarks are adjusted: where several parameters
        explain them equally well, the most likely count.

        Args:
            points: (N, K, D) in isotropic units or, with steps, in pixels; NaN where missing.
            steps: (N, D, D) or (D, D) from steps in pixels to steps in mm, see
                :func:`mmlandmark.structures.mm_steps`.
            width: Standard deviations.
        """
        points = self._checked(points)
        placed = points if steps is None else points @ np.swapaxes(steps, -1, -2)
        aligned, flipped = self._aligned(placed)
        parameters, shapes = self._explained(aligned.shapes, width)
        adjusted = aligned.restored(shapes)
        adjusted = np.where(flipped[:, None, None], mirror_image(adjusted), adjusted)
        deviation = np.linalg.norm(adjusted - placed, axis=2)
        if steps is not None:
            # Relative to the given points, so that one that stays where it is stays to the last digit.
            back = np.swapaxes(np.linalg.inv(steps), -1, -2)
            adjusted = points + (adjusted - placed) @ back
        return Adjustment(adjusted, deviation, parameters)

    def regulate(self, points: np.ndarray, limit: float = 2.0, steps: np.ndarray | None = None) -> Regulated:
        """Adjust shapes, or find their abnormal landmarks (section 3.1.3, equation 7).

        If no landmark deviates by more than the limit, the shape is adjusted. Else the landmarks that do are
        abnormal, and the others stay as they are. A shape without more than D landmarks keeps none.

        Args:
            points: (N, K, D) as of :meth:`adjust`.
            limit: Z, in the unit of the shapes, or in mm with steps.
            steps: See :meth:`adjust`.
        """
        points = self._checked(points)
        adjusted = self.adjust(points, steps)
        known = np.isfinite(adjusted.deviation)
        abnormal = known & (np.nan_to_num(adjusted.deviation) > limit)
        whole = known.any(axis=1) & ~abnormal.any(axis=1)
        chosen = np.where((whole[:, None] & known)[..., None], adjusted.points, points)
        return Regulated(chosen, adjusted.deviation, known & ~abnormal, whole)

    def save(self, path: str | Path) -> None:
        """Write the model as JSON; where normality is not known, as null."""
        content: dict[str, Any] = {"format": FORMAT}
        for name, value in asdict(self).items():
            content[name] = value.tolist() if isinstance(value, np.ndarray) else value
        content["normality"] = [
            [None if np.isnan(number) else number for number in row] for row in content["normality"]
        ]
        write_state(path, content, indent=None)

    @classmethod
    def load(cls, path: str | Path) -> PointDistributionModel:
        """Read a model that :meth:`save` wrote.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is damaged, or holds something else; the message names the file.
        """
        content = read_state(path, "let mmlandmark learn-shapes write a new one")
        if content.pop("format", None) != FORMAT:
            raise ValueError(
                f"{path}: no model of shapes; mmlandmark learn-shapes DATA -o {Path(path).name} writes one"
            )
        try:
            return _of_json(content)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(
                f"{path}: this model of shapes is damaged ({error}); mmlandmark learn-shapes writes a new one"
            ) from error

    def _checked(self, points: np.ndarray) -> np.ndarray:
        points = np.asarray(points, dtype=np.float64)
        if points.ndim != 3 or points.shape[1:] != self.mean.shape:
            landmarks, dims = self.mean.shape
            raise ValueError(
                f"expected shapes (N, {landmarks}, {dims}), those of the model, got {points.shape}"
            )
        return present(points)

    def _aligned(self, points: np.ndarray) -> tuple[Alignment, np.ndarray]:
        """Return the shapes in the tangent space of the mean, and (N,) whether each was mirrored."""
        plain = in_tangent_space(align(points, self.mean), self.mean)
        if not self.mirrored:
            return plain, np.zeros(len(points), dtype=bool)
        other = in_tangent_space(align(mirror_image(points), self.mean), self.mean)
        with np.errstate(invalid="ignore"):
            flipped = other.residuals < plain.residuals
        return chosen_side(flipped, plain, other), flipped

    def _explained(self, aligned: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the (N, M) parameters of aligned shapes, and the (N, K, D) shapes with limited ones."""
        count, (_landmarks, dims) = len(aligned), self.mean.shape
        parameters = np.full((count, len(self.sigmas)), np.nan)
        shapes = np.full_like(aligned, np.nan)
        seen = np.isfinite(aligned).all(axis=2)
        for rows in alike(seen):
            here = seen[rows[0]]
            if not here.any():
                continue
            known = np.repeat(here, dims)
            modes = self.components[:, known]
            offsets = (aligned[rows] - self.mean)[:, here].reshape(len(rows), -1)
            if here.all():
                solution = modes.T
            else:
                # The part of the modes that a similarity transform of the present landmarks cannot undo.
                modes = modes - modes @ _similarities(self.mean[here])
                scaled = modes * self.sigmas[:, None]
                solution = np.linalg.pinv(scaled, rcond=_UNEXPLAINED) * self.sigmas
            found = offsets @ solution
            limited = np.clip(found, -width * self.sigmas, width * self.sigmas)
            parameters[rows] = found
            shapes[np.ix_(rows, here)] = self.mean[here] + (limited @ modes).reshape(len(rows), -1, dims)
        return parameters, shapes


def shapiro_wilk(parameters: np.ndarray) -> np.ndarray:
    """Return Shapiro and Wilk's W, and p, (M, 2), of the columns of (N, M) shape parameters.

    A small p speaks against a normal distribution. NaN with fewer than 3 shapes, or without differences.
    """
    from scipy import stats  # takes a second, and most commands test no shapes

    some = parameters[:: max(1, -(-len(parameters) // _MOST_TESTED))]
    result = np.full((parameters.shape[1], 2), np.nan)
    for column, values in enumerate(some.T):
        if len(values) >= 3 and np.ptp(values) > 0:
            result[column] = stats.shapiro(values)
    return result


def _of_json(content: dict[str, Any]) -> PointDistributionModel:
    """Return the model of a JSON object, or raise an error that says what is wrong with it."""
    arrays = {
        name: np.array(content.pop(name), dtype=np.float64)
        for name in ("mean", "components", "sigmas", "shares", "normality")
    }
    mean, modes = arrays["mean"], len(arrays["sigmas"])
    shapes = dict(components=(modes, mean.size), sigmas=(modes,), shares=(modes,), normality=(modes, 2))
    if mean.ndim != 2 or mean.shape[1] not in (2, 3):
        raise ValueError(f"its mean has the shape {mean.shape}")
    for name, shape in shapes.items():
        arrays[name] = arrays[name].reshape(shape) if modes == 0 else arrays[name]
        if arrays[name].shape != shape:
            raise ValueError(f"{name} have the shape {arrays[name].shape}, not {shape}")
        if name != "normality" and not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name} are not all numbers")
    components = arrays["components"]
    if not np.allclose(components @ components.T, np.eye(modes), atol=1e-6):
        raise ValueError("components are not orthonormal")
    if (arrays["sigmas"] < 0).any() or normalised(mean) is None:
        raise ValueError("sigmas are negative, or mean is a point")
    count, size, mirrored = content.pop("count"), float(content.pop("size")), content.pop("mirrored")
    if not isinstance(count, int) or not isinstance(mirrored, bool) or not 0 < size < np.inf or content:
        raise ValueError(f"count {count}, size {size}, mirrored {mirrored}, {sorted(content)}")
    return PointDistributionModel(count=count, size=size, mirrored=mirrored, **arrays)


def _complete(points: np.ndarray) -> np.ndarray:
    """Return the complete ones of (N, K, D) shapes."""
    complete = np.isfinite(points).all(axis=(1, 2)) & (points.shape[1] > points.shape[2])
    complete &= np.ptp(points, axis=1).max(axis=1) > 0
    if complete.sum() < FEWEST_COMPLETE:
        raise ValueError(
            f"modes of variation need at least {FEWEST_COMPLETE} complete shapes of more than "
            f"{points.shape[2]} landmarks that differ; of {len(points)} shapes {complete.sum()} are"
        )
    return points[complete]


def _principal(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """Return mean, components, variances and sides of complete shapes, by generalized Procrustes analysis."""
    typical = find_typical(points)
    assert typical is not None, "complete shapes have a typical one"
    sides = Sides.find(points, typical)
    points = np.where(sides.flipped[:, None, None], mirror_image(points), points)
    mean = sides.typical
    for _ in range(_ROUNDS):
        former = mean
        aligned = in_tangent_space(align(points, mean), mean).shapes
        usable = np.isfinite(aligned).all(axis=(1, 2))
        middle = normalised(aligned[usable].mean(axis=0))
        assert middle is not None, "shapes in a tangent space have an extent"
        mean = middle
        if np.abs(mean - former).max() < _CONVERGED:
            break
    aligned = in_tangent_space(align(points, mean), mean).shapes[usable]
    offsets = (aligned - mean).reshape(len(aligned), -1)
    _, sizes, components = np.linalg.svd(offsets, full_matrices=False)
    return mean, components, sizes**2 / max(len(aligned) - 1, 1), sides.usual


def _robust(prior: ShapePrior) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """Return mean, components, variances and sides of the normal distribution of a prior."""
    model = prior.model
    middle = model.middle.reshape(model.typical.shape)
    mean = normalised(middle)
    assert mean is not None, "a typical shape has an extent"
    spread = model.scale / np.sqrt(((middle - middle.mean(axis=0)) ** 2).sum() / len(middle))
    covariance = np.linalg.inv(model.precision) * np.outer(spread, spread)
    tangent = np.eye(mean.size) - _similarities(mean)
    variances, components = np.linalg.eigh(tangent @ covariance @ tangent)
    free = round(np.trace(tangent))
    order = np.argsort(-variances, kind="stable")[:free]
    return mean, components[:, order].T, variances[order].clip(0), prior.mirrored


def _leading(variances: np.ndarray, share: float) -> int:
    """Return how many of the variances, the largest first, hold a share of all."""
    total = variances.sum()
    # Less than this is the error of floating point numbers.
    some = variances[variances > 1e-20 + 1e-14 * total]
    if len(some) == 0:
        return 0
    return min(int(np.searchsorted(np.cumsum(some) / total, share - 1e-12)) + 1, len(some))


def _similarities(shape: np.ndarray) -> np.ndarray:
    """Return the (K * D, K * D) projection to what translation, rotation and scaling do to a shape (K, D)."""
    landmarks, dims = shape.shape
    moves = [np.tile(axis, (landmarks, 1)) for axis in np.eye(dims)] + [shape]
    for i in range(dims):
        for j in range(i):
            turn = np.zeros((dims, dims))
            turn[i, j], turn[j, i] = 1.0, -1.0
            moves.append(shape @ turn)
    left, sizes, _ = np.linalg.svd(np.stack(moves).reshape(len(moves), -1).T, full_matrices=False)
    basis = left[:, sizes > 1e-9 * sizes[0]]
    return basis @ basis.T
