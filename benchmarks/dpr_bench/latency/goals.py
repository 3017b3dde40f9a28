# Where whole queries must get: a table of promises, and what became of them.
"""Goals of latency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dpr_bench.latency.contenders import EAGER, INT8, NUMPY, OPTIMISED, OURS
from dpr_bench.latency.results import LatencyResults
from dpr_bench.latency.rounds import LatencyRow

__all__ = ["SOAK_QUERIES", "GoalRow", "check_goals"]

SOAK_QUERIES = 1_000_000
_FLAT = 0.01


@dataclass(frozen=True, kw_only=True)
class GoalRow:
    """A promise and its measurement.

    Attributes
    ----------
    case : str
        What is promised, and against whom.
    unit : str
        "x" for a ratio to reach; otherwise a unit, and less is better.
    must, aim, measured : float
        In that unit.
    note : str
        What a reader should know beside the figure.
    """

    case: str
    unit: str
    must: float
    aim: float
    measured: float
    note: str = ""

    @property
    def met(self) -> str:
        """How far the promise is kept: "aim", "yes" or "no"."""
        sign = 1 if self.unit == "x" else -1
        if sign * self.measured >= sign * self.aim:
            return "aim"
        return "yes" if sign * self.measured >= sign * self.must else "no"

    def shown(self, value: float) -> str:
        """A value in the goal's unit, such as "4.2x", "0.8 ms" or "1 %"."""
        if self.unit == "%":
            return f"{100 * value:.2g} %"
        figure = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
        return figure + ("x" if self.unit == "x" else f" {self.unit}")

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"met": self.met}


def check_goals(results: LatencyResults) -> list[GoalRow]:
    """Hold the results against the goals; those of one thread count. Goals whose case was not measured are left out."""
    rows = {(row.batch, row.cached, row.pipeline): row for row in results.rows if row.threads == 1}
    return [
        *_ratios(rows, 1, True, {EAGER: (4, 8), OPTIMISED: (2, 4)}),
        *_ratios(rows, 1, False, {EAGER: (3, 8)}),
        *_uncached(rows),
        *_million(results),
        *_ratios(rows, 256, True, {EAGER: (3, 6), OPTIMISED: (1.5, 3)}),
        *_others(results),
    ]


def _ratios(
    rows: dict[tuple[int, bool, str], LatencyRow],
    batch: int,
    cached: bool,
    against: dict[str, tuple[float, float]],
) -> list[GoalRow]:
    found = ((rows.get((batch, cached, peer)), must, aim) for peer, (must, aim) in against.items())
    return [
        GoalRow(
            case=f"{row.case}, against {row.pipeline}",
            unit="x",
            must=must,
            aim=aim,
            measured=row.ratio,
            note=f"rounds {row.ratio_low:.3g} to {row.ratio_high:.3g}",
        )
        for row, must, aim in found
        if row is not None
    ]


def _uncached(rows: dict[tuple[int, bool, str], LatencyRow]) -> list[GoalRow]:
    """p50 of a prompt that is not cached, for either precision of the prompt encoder."""
    ours = (rows.get((1, False, name)) for name in (OURS, INT8))
    return [
        GoalRow(case=f"{row.case}, p50 of {row.pipeline}", unit="ms", must=2, aim=0.8, measured=row.p50)
        for row in ours
        if row is not None
    ]


def _million(results: LatencyResults) -> list[GoalRow]:
    return [
        GoalRow(
            case=f"{row.items:,} items, B = 1, prompt cached, against {row.pipeline}",
            unit="x",
            must=15,
            aim=30,
            measured=row.ratio,
            note=f"rounds {row.ratio_low:.3g} to {row.ratio_high:.3g}",
        )
        for row in results.million
        if row.pipeline == NUMPY
    ]


def _others(results: LatencyResults) -> Sequence[GoalRow]:
    outside, start, memory = results.outside, results.start_up[0], results.memory
    short = "" if memory.queries >= SOAK_QUERIES else f"the goal is about {SOAK_QUERIES:,} queries: --soak"
    return (
        GoalRow(
            case="B = 1, prompt cached, outside engines and kernel",
            unit="us",
            must=60,
            aim=25,
            measured=outside.outside,
        ),
        GoalRow(
            case=f"opening {start.bundle}, in a fresh process, first answer included",
            unit="ms",
            must=1000,
            aim=300,
            measured=start.opening_ms,
            note=f"{start.process_ms:.0f} ms with the interpreter's start and imports",
        ),
        GoalRow(
            case=f"memory over {memory.queries:,} queries of that bundle, growth",
            unit="%",
            must=_FLAT,
            aim=_FLAT,
            measured=memory.growth,
            note=short,
        ),
    )
