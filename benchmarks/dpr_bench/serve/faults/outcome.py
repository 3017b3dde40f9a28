# What is said of every fault: what was done, what had to happen, what happened.
"""Outcomes of faults, and what they are given."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = ["FaultSetup", "Outcome", "counted", "percentile_ms"]


@dataclass(frozen=True, kw_only=True)
class FaultSetup:
    """What every fault gets.

    Attributes
    ----------
    bundle : Path
        What is served; never changed.
    history : sequence of str
        Known item ids.
    tags : sequence of str
        The bundle's tags.
    folder : Path
        Empty, of this fault alone.
    seconds : float
        How long a fault that lasts should last.
    """

    bundle: Path
    history: Sequence[str]
    tags: Sequence[str]
    folder: Path
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One fault.

    Attributes
    ----------
    name : str
        Of the fault.
    done : str
        What was done to the server.
    expected : str
        What had to happen.
    measured : dict of str to str, int or float
        What happened.
    passed : bool or None
        Whether it is what had to happen; None if it could not be tried here, and `measured` says why.
    """

    name: str
    done: str
    expected: str
    measured: Mapping[str, str | int | float]
    passed: bool | None

    @property
    def verdict(self) -> str:
        """One word."""
        return {True: "passed", False: "FAILED", None: "not tried"}[self.passed]

    @property
    def figures(self) -> str:
        """What was measured, in one line."""
        return "; ".join(f"{name}: {_shown(value)}" for name, value in self.measured.items())

    @property
    def line(self) -> str:
        """All in one line."""
        return f"{self.verdict:9} {self.name}: {self.figures}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def counted(statuses: Counter[int]) -> str:
    """Statuses and how often each came, such as ``12 x 200, 3 x 503``."""
    return ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items())) or "none"


def percentile_ms(seconds: Sequence[float], percent: int) -> float:
    """A percentile of times, in milliseconds; of fewer than two, the only one or 0."""
    if len(seconds) < 2:
        return 1e3 * sum(seconds)
    return 1e3 * statistics.quantiles(seconds, n=100, method="inclusive")[percent - 1]


def _shown(value: str | int | float) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"{value}"
