"""Distances with the tails of a normal distribution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Tails:
    """Transforms distances to the scale and tails of a normal distribution.

    Real shapes have heavier tails than a normal distribution. A power reduces them, so that one threshold
    means the same for all data. The power is limited, since many faults also make a heavy tail.

    Attributes:
        median: Of the distances, () or (K,); NaN where there are none.
        normal: The median of a normal distribution's distances.
        power: Rescaled = normal * (distance / median) ** power.
    """

    median: np.ndarray
    normal: float
    power: float

    @classmethod
    def match(cls, distances: np.ndarray, dims: int, quantile: float) -> Tails:
        """Match median and an upper quantile of (N,) or (N, K) distances, NaN where missing.

        Args:
            distances: Distances of usual shapes.
            dims: Degrees of freedom: 1, 2 or 3.
            quantile: 0.9 or 0.95.
        """
        some = np.isfinite(distances).any(axis=0)
        median = np.full(some.shape, np.nan)
        median[some] = np.maximum(np.nanmedian(distances[..., some], axis=0), 1e-6)
        normal, upper = _CHI[dims][0.5], _CHI[dims][quantile]
        reached = float(np.nanquantile(distances / median, quantile))
        power = float(np.clip(np.log(upper / normal) / np.log(max(reached, 1.01)), 0.55, 1.0))
        return cls(median, normal, power)

    @staticmethod
    def normal_median(dims: int) -> float:
        """Return the median length of a vector of ``dims`` standard normal numbers."""
        return _CHI[dims][0.5]

    def rescaled(self, distances: np.ndarray) -> np.ndarray:
        """Return distances in standard deviations of a normal distribution."""
        return self.normal * (distances / self.median) ** self.power


# Quantiles of the length of a vector of standard normal numbers, by its dimension.
_CHI = {
    1: {0.5: 0.6745, 0.9: 1.6449, 0.95: 1.9600},
    2: {0.5: 1.1774, 0.9: 2.1460, 0.95: 2.4477},
    3: {0.5: 1.5382, 0.9: 2.5003, 0.95: 2.7955},
}
