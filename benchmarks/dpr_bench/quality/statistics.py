# How sure a mean, or a difference of two systems on the same queries, is. Percentile bootstrap; every draw is seeded.
"""Bootstrap confidence intervals over users, and over families of idioms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

__all__ = ["RESAMPLES", "Interval", "Paired", "mean_interval", "paired_by_cluster", "paired_difference"]

FloatArray = npt.NDArray[np.float64]

RESAMPLES = 2000
_SEED = 20260101
_TAILS = (2.5, 97.5)  # percent


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % confidence interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Paired:
    """A system against a reference on the same queries: difference of the means, also in percent of the reference."""

    difference: Interval
    percent: Interval


def mean_interval(values: FloatArray) -> Interval:
    """Mean of the values of n users.

    Parameters
    ----------
    values : float64 (n,)
        One a user; mean over seeds first where there are several.
    """
    if len(values) == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    means = _weights(len(values)) @ values.astype(np.float32) / len(values)
    return _interval(float(values.mean()), means)


def paired_difference(ours: FloatArray, reference: FloatArray) -> Paired:
    """Difference between two systems; users are drawn, and both systems' values of a user stay together.

    Parameters
    ----------
    ours, reference : float64 (n,)
        Values of the same users in the same order, mean over seeds first.

    Raises
    ------
    ValueError
        If the numbers of users differ.
    """
    if ours.shape != reference.shape:
        raise ValueError(f"paired values have shapes {ours.shape} and {reference.shape}; expected the same")
    weights = _weights(len(ours))
    own = weights @ ours.astype(np.float32) / len(ours)
    other = weights @ reference.astype(np.float32) / len(reference)
    return _paired(float(ours.mean()), float(reference.mean()), own, other)


def paired_by_cluster(ours: FloatArray, reference: FloatArray, clusters: Sequence[str]) -> Paired:
    """The same where whole clusters of queries are drawn: what another choice of idioms could have given.

    Parameters
    ----------
    ours, reference : float64 (n,)
        Values of the same queries in the same order.
    clusters : sequence of str
        Length n; the cluster of each query, such as the family of its idiom.
    """
    _, member = np.unique(np.asarray(clusters), return_inverse=True)
    sizes = np.bincount(member).astype(np.float32)
    weights = _weights(len(sizes))
    drawn = weights @ sizes
    own = weights @ np.bincount(member, ours).astype(np.float32) / drawn
    other = weights @ np.bincount(member, reference).astype(np.float32) / drawn
    return _paired(float(ours.mean()), float(reference.mean()), own, other)


@lru_cache(maxsize=4)
def _weights(n: int) -> npt.NDArray[np.float32]:
    """How often each of n users is in each resample, float32 (RESAMPLES, n)."""
    rng = np.random.default_rng([_SEED, n])
    weights = np.empty((RESAMPLES, n), dtype=np.float32)
    for row in weights:
        row[:] = np.bincount(rng.integers(n, size=n), minlength=n)
    return weights


def _paired(
    ours: float, reference: float, own: npt.NDArray[np.floating], other: npt.NDArray[np.floating]
) -> Paired:
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = 100 * (own.astype(np.float64) / other - 1)
    ratio = 100 * (ours / reference - 1) if reference else float("nan")
    return Paired(_interval(ours - reference, own - other), _interval(ratio, ratios))


def _interval(mean: float, draws: npt.NDArray[np.floating]) -> Interval:
    low, high = np.percentile(draws, _TAILS)
    return Interval(mean, float(low), float(high))
