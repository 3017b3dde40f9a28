# Times of calls in an HdrHistogram, and the percentiles that so many calls can tell.
"""Percentiles of call times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from hdrh.histogram import HdrHistogram

__all__ = ["PERCENTILES", "CallTimes"]

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99_9": 99.9}
_LONGEST_NS = 600 * 10**9
_DIGITS = 3  # a recorded time is right to a thousandth


class CallTimes:
    """Times of the calls of some rounds.

    Parameters
    ----------
    rounds : sequence of ndarray of int64
        Nanoseconds of each call, a round an array.

    References
    ----------
    Gil Tene, "HdrHistogram: A High Dynamic Range Histogram", http://hdrhistogram.org.
    """

    def __init__(self, rounds: Sequence[npt.NDArray[np.int64]]) -> None:
        self._histogram = HdrHistogram(1, _LONGEST_NS, _DIGITS)
        for block in rounds:
            for nanoseconds in block.tolist():
                self._histogram.record_value(nanoseconds)
        self.medians = np.array([np.median(block) for block in rounds]) / 1e6

    @property
    def calls(self) -> int:
        """How many."""
        return int(self._histogram.get_total_count())

    def percentile(self, percent: float) -> float | None:
        """Milliseconds; None where fewer than one call lies beyond: that would be the maximum under another name."""
        if self.calls * (100 - percent) < 100 - 1e-6:
            return None
        return float(self._histogram.get_value_at_percentile(percent)) / 1e6

    def as_dict(self) -> dict[str, Any]:
        """Calls, percentiles and maximum, milliseconds."""
        known = {name: self.percentile(percent) for name, percent in PERCENTILES.items()}
        return {"calls": self.calls, **known, "max": float(self._histogram.get_max_value()) / 1e6}
