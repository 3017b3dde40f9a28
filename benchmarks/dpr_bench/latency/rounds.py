# Contenders take turns within a case; ratios are taken within a round, where the machine was the same for all.
"""Time whole queries."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

import numpy as np
import numpy.typing as npt

from dpr_bench.kernel_progress import Watch
from dpr_bench.latency.agreement import K
from dpr_bench.latency.cases import Case, Plan
from dpr_bench.latency.contenders import OURS, Contender, limited_threads
from dpr_bench.latency.pipeline import Pipeline
from dpr_bench.latency.questions import Batch, FreshPrompts, Questions
from dpr_bench.latency.times import CallTimes

__all__ = [
    "ColdRow",
    "LatencyRow",
    "measure_case",
    "measure_cold",
    "median_ratio",
    "time_calls",
    "time_rounds",
]

_MOST_FRESH = 512  # prompts a round: a prompt that no cache holds is made for each query


@dataclass(frozen=True, kw_only=True)
class LatencyRow:
    """One contender in one case.

    Attributes
    ----------
    case, batch, cached, threads
        The case.
    pipeline : str
        The contender.
    times : dict
        As of `CallTimes.as_dict`, milliseconds a call.
    ratio : float
        Median over rounds of its median over that of dpr-infer in the same round; above 1, dpr-infer is faster.
    ratio_low, ratio_high : float
        Least and most of the rounds.
    """

    case: str
    batch: int
    cached: bool
    threads: int
    pipeline: str
    times: dict[str, Any]
    ratio: float
    ratio_low: float
    ratio_high: float

    @property
    def p50(self) -> float:
        """Median, milliseconds a call."""
        return float(self.times["p50"])

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        listed = {name: getattr(self, name) for name in ("case", "batch", "cached", "threads", "pipeline")}
        ratios = {"ratio": self.ratio, "ratio_low": self.ratio_low, "ratio_high": self.ratio_high}
        return {**listed, **self.times, **ratios, "queries_per_second": 1e3 * self.batch / self.p50}


@dataclass(frozen=True, kw_only=True)
class ColdRow:
    """A contender opened anew: medians of opening it and of its first call (B = 1), milliseconds."""

    pipeline: str
    open_ms: float
    first_ms: float


def measure_case(
    case: Case,
    pipelines: Mapping[str, Pipeline],
    questions: Questions,
    fresh: FreshPrompts,
    plan: Plan,
    watch: Watch,
) -> list[LatencyRow]:
    """Time every contender in one case.

    Parameters
    ----------
    case : Case
        Batch size, cached or not, threads.
    pipelines : mapping of str to Pipeline
        By name; dpr-infer, `OURS`, is among them.
    questions : Questions
        What is asked. Where prompts are not cached, `fresh` makes the prompts.
    fresh : FreshPrompts
        Shared by all cases.
    plan : Plan
        Rounds and seconds.
    watch : Watch
        Told of every round.

    Returns
    -------
    list of LatencyRow
        In the order of the contenders.
    """
    if case.cached:
        count = max(2, -(-len(questions.prompts) // case.batch))
        rounds = [questions.batches(case.batch, count)] * plan.rounds
    else:
        count = max(1, min(200, _MOST_FRESH // case.batch))
        rounds = [
            questions.batches(case.batch, count, fresh.take(case.batch * count)) for _ in range(plan.rounds)
        ]
    warm_up = rounds[0] if case.cached else questions.batches(case.batch, 1, fresh.take(case.batch))
    with limited_threads(case.threads):
        for pipeline in pipelines.values():
            for histories, prompts in warm_up:
                pipeline.search(histories, prompts, K)
        times = time_rounds(pipelines, rounds, plan.seconds, watch, again=case.cached)
    return _rows(case, times)


def time_rounds(
    pipelines: Mapping[str, Pipeline],
    rounds: Sequence[Sequence[Batch]],
    seconds: float,
    watch: Watch,
    *,
    again: bool,
) -> dict[str, CallTimes]:
    """Let contenders take turns, each round beginning with the next one.

    Parameters
    ----------
    pipelines : mapping of str to Pipeline
        By name, warmed up.
    rounds : sequence of sequence of Batch
        What is asked in each round.
    seconds : float
        Time of a contender in a round.
    watch : Watch
        Told of every round.
    again : bool
        Whether a round's batches may be asked again while there is time.

    Returns
    -------
    dict of str to CallTimes
        By name, in the order of `pipelines`.
    """
    names = list(pipelines)
    blocks: dict[str, list[npt.NDArray[np.int64]]] = {name: [] for name in names}
    for number, batches in enumerate(rounds):
        watch.tick(number + 1, len(rounds))
        first = number % len(names)
        for name in names[first:] + names[:first]:
            blocks[name].append(time_calls(pipelines[name], batches, seconds, again=again))
    return {name: CallTimes(of_rounds) for name, of_rounds in blocks.items()}


def time_calls(
    pipeline: Pipeline, batches: Sequence[Batch], seconds: float, *, again: bool
) -> npt.NDArray[np.int64]:
    """Nanoseconds of each call, int64: of all batches or, where they take longer, of those that begin in time."""
    taken: list[int] = []
    gc.collect()
    gc.disable()
    try:
        end = perf_counter_ns() + int(1e9 * seconds)
        while True:
            for histories, prompts in batches:
                begun = perf_counter_ns()
                pipeline.search(histories, prompts, K)
                now = perf_counter_ns()
                taken.append(now - begun)
                if now >= end:
                    return np.array(taken)
            if not again:
                return np.array(taken)
    finally:
        gc.enable()


def measure_cold(
    contenders: Sequence[Contender], questions: Questions, fresh: FreshPrompts, rounds: int, watch: Watch
) -> list[ColdRow]:
    """Open every contender that opens quickly anew, and time its first call: one thread, B = 1.

    The process is warm: libraries are loaded, files lie in the system's cache.
    """
    taken: dict[str, list[tuple[int, int]]] = {c.name: [] for c in contenders if c.quick}
    with limited_threads(1):
        for number in range(rounds):
            watch.tick(number + 1, rounds)
            batch = questions.batches(1, 1, fresh.take(1))[0]
            for contender in (c for c in contenders if c.quick):
                begun = perf_counter_ns()
                pipeline = contender.open(1)
                opened = perf_counter_ns()
                pipeline.search(*batch, K)
                taken[contender.name].append((opened - begun, perf_counter_ns() - opened))
    medians = {name: np.median(np.array(times), axis=0) / 1e6 for name, times in taken.items()}
    return [
        ColdRow(pipeline=name, open_ms=float(open_ms), first_ms=float(first_ms))
        for name, (open_ms, first_ms) in medians.items()
    ]


def median_ratio(times: CallTimes, ours: CallTimes) -> tuple[float, float, float]:
    """Median, least and most, over rounds, of the rounds' medians over ours."""
    ratios = times.medians / ours.medians
    return float(np.median(ratios)), float(ratios.min()), float(ratios.max())


def _rows(case: Case, times: Mapping[str, CallTimes]) -> list[LatencyRow]:
    rows = []
    for name, of_calls in times.items():
        ratio, low, high = median_ratio(of_calls, times[OURS])
        rows.append(
            LatencyRow(
                case=case.name,
                batch=case.batch,
                cached=case.cached,
                threads=case.threads,
                pipeline=name,
                times=of_calls.as_dict(),
                ratio=ratio,
                ratio_low=low,
                ratio_high=high,
            )
        )
    return rows
