# A difference between two variants on the users who take part in both. How sure it is, quality/statistics.py says.
"""Paired differences with their 95 % intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dpr_bench.quality.statistics import mean_interval

__all__ = ["Difference", "paired_difference"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """A mean, that of the default, their difference, and where 95 % of the resampled differences lie."""

    mean: float
    default: float
    difference: float
    low: float
    high: float

    @property
    def above(self) -> bool:
        """Whether the whole interval is above 0."""
        return self.low > 0

    @property
    def below(self) -> bool:
        """Whether the whole interval is below 0."""
        return self.high < 0


def paired_difference(ours: Sequence[FloatArray], default: Sequence[FloatArray]) -> Difference:
    """Difference of two variants on the same users: mean over seeds first, then users are drawn.

    Parameters
    ----------
    ours, default : sequence of float64 (U,)
        One array a seed; NaN for users who take no part.

    Raises
    ------
    ValueError
        If nobody takes part.

    Examples
    --------
    >>> found = paired_difference([np.array([1.0, 0.5, np.nan])], [np.array([0.5, 0.0, np.nan])])
    >>> found.difference, found.low, found.high
    (0.5, 0.5, 0.5)
    """
    own, other = np.mean(ours, axis=0), np.mean(default, axis=0)
    taking_part = ~np.isnan(own) & ~np.isnan(other)
    if not taking_part.any():
        raise ValueError("paired values of no user at all; expected at least one who takes part")
    own, other = own[taking_part], other[taking_part]
    found = mean_interval(own - other)
    return Difference(float(own.mean()), float(other.mean()), found.mean, found.low, found.high)
