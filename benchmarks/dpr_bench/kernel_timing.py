# Times contenders side by side: in each round every one runs the same calls once, in turning order.
"""Interleaved timing of calls."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Budget", "Contender", "Summary", "Times", "interleave", "plan_rounds"]

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Contender:
    """A name and its calls; call i asks the same of every contender of a group."""

    name: str
    calls: Sequence[Callable[[], object]]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How long a group of contenders may take: seconds in all, seconds a round, and bounds on the rounds."""

    seconds: float
    round_seconds: float
    fewest_rounds: int
    most_rounds: int


@dataclass(frozen=True)
class Summary:
    """Milliseconds a call: median, 10th and 90th percentile over all calls of all rounds."""

    median_ms: float
    p10_ms: float
    p90_ms: float
    calls: int
    rounds: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Times:
    """Milliseconds of one contender, float64 (rounds, calls a round)."""

    name: str
    ms: F64

    @property
    def median(self) -> float:
        """Median over all calls, in milliseconds."""
        return float(np.median(self.ms))

    def summary(self) -> Summary:
        """Median and spread."""
        low, high = np.percentile(self.ms, [10, 90])
        return Summary(self.median, float(low), float(high), self.ms.size, len(self.ms))

    def over(self, other: Times) -> float:
        """Ratio of the medians, this one's over the other's."""
        return self.median / other.median

    def over_pairwise(self, other: Times) -> float:
        """Median of the ratios call by call: the same question in the same round."""
        return float(np.median(self.ms / other.ms))


def plan_rounds(one_call_s: float, n_calls: int, budget: Budget) -> tuple[int, int]:
    """Choose how many calls make a round and how many rounds there are.

    Parameters
    ----------
    one_call_s : float
        Seconds that one call of every contender takes together.
    n_calls : int
        Different calls that there are.
    budget : Budget
        Limits; the fewest rounds are kept even if they take longer.

    Returns
    -------
    calls : int
        Calls a round, from 1 to `n_calls`.
    rounds : int
        Rounds, within the budget's bounds.
    """
    calls = int(np.clip(budget.round_seconds / one_call_s, 1, n_calls))
    rounds = int(np.clip(budget.seconds / (calls * one_call_s), budget.fewest_rounds, budget.most_rounds))
    return calls, rounds


def interleave(
    contenders: Sequence[Contender],
    budget: Budget,
    tick: Callable[[int, int], None] = lambda _number, _rounds: None,
) -> dict[str, Times]:
    """Time contenders against each other.

    Each one's first call is made twice before anything counts. A round then runs the same calls of each contender;
    the next round takes the calls after those, and another contender begins it.

    Parameters
    ----------
    contenders : sequence of Contender
        With different names and equally many calls.
    budget : Budget
        How long this may take.
    tick : callable
        Told the round's number, from 1, and the number of rounds.

    Returns
    -------
    dict of str to Times
        By name.

    Raises
    ------
    ValueError
        If there is no contender or call, two have one name, or they differ in their number of calls.
    """
    n_calls = _check(contenders)
    with _without_collection():
        once = [min(_time([contender.calls[0]] * 2)) for contender in contenders]
        calls, rounds = plan_rounds(sum(once) / 1e3, n_calls, budget)
        taken: dict[str, list[list[float]]] = {contender.name: [] for contender in contenders}
        for number in range(rounds):
            tick(number + 1, rounds)
            chosen = [(number * calls + i) % n_calls for i in range(calls)]
            first = number % len(contenders)
            for contender in [*contenders[first:], *contenders[:first]]:
                taken[contender.name].append(_time([contender.calls[i] for i in chosen]))
    return {name: Times(name, np.array(ms)) for name, ms in taken.items()}


def _check(contenders: Sequence[Contender]) -> int:
    counts = {len(contender.calls) for contender in contenders}
    if len(counts) != 1 or 0 in counts:
        raise ValueError(f"contenders must have equally many calls, at least one; got {sorted(counts)}")
    names = [contender.name for contender in contenders]
    if len(set(names)) < len(names):
        raise ValueError(f"contenders must have different names; got {names}")
    return counts.pop()


def _time(calls: Sequence[Callable[[], object]]) -> list[float]:
    """Milliseconds of each call."""
    taken = []
    for call in calls:
        begun = perf_counter()
        call()
        taken.append(1e3 * (perf_counter() - begun))
    return taken


@contextmanager
def _without_collection() -> Iterator[None]:
    """No garbage collection in the block: it would hit whoever happens to run."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
