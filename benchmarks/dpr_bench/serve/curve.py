# From measured points to curves: medians over rounds, and the throughput that a bound on p99 allows.
"""Curves of throughput against latency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from dpr_bench.serve.wrk import WrkResult

__all__ = ["CurvePoint", "median_curve", "throughput_within"]


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """One server at one concurrency: medians over the rounds, and sums of what went wrong.

    Throughput is in answers a second, times are milliseconds.
    """

    connections: int
    throughput: float
    throughput_low: float
    throughput_high: float
    p50: float
    p99: float
    rounds: int
    requests: int
    shed: int
    failures: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def median_curve(rounds: Sequence[tuple[int, WrkResult]]) -> list[CurvePoint]:
    """Summarise rounds, each given with its concurrency; points come by rising concurrency."""
    points = []
    for connections in sorted({number for number, _ in rounds}):
        results = [result for number, result in rounds if number == connections]
        throughputs = [result.throughput for result in results]
        points.append(
            CurvePoint(
                connections=connections,
                throughput=median(throughputs),
                throughput_low=min(throughputs),
                throughput_high=max(throughputs),
                p50=median(result.p50 for result in results),
                p99=median(result.p99 for result in results),
                rounds=len(results),
                requests=sum(sum(result.statuses.values()) for result in results),
                shed=sum(result.shed for result in results),
                failures=sum(result.failures for result in results),
            )
        )
    return points


def throughput_within(curve: Sequence[CurvePoint], p99_bound: float) -> float | None:
    """The best throughput at which p99 stays within a bound.

    Between neighbours, of which one keeps the bound and the other does not, both are taken to change linearly.

    Parameters
    ----------
    curve : sequence of CurvePoint
        By rising concurrency.
    p99_bound : float
        Milliseconds.

    Returns
    -------
    float or None
        Answers a second; None if no point keeps the bound.
    """
    reached = [point.throughput for point in curve if point.p99 <= p99_bound]
    if not reached:
        return None
    for left, right in pairwise(curve):
        if (left.p99 <= p99_bound) != (right.p99 <= p99_bound):
            share = (p99_bound - left.p99) / (right.p99 - left.p99)
            reached.append(left.throughput + share * (right.throughput - left.throughput))
    return max(reached)
