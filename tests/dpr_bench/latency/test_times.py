# Percentiles of call times, and the rounds that they are taken in.
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from dpr_bench.latency.pipeline import Histories, Rows
from dpr_bench.latency.rounds import median_ratio, time_calls, time_rounds
from dpr_bench.latency.times import CallTimes


def test_percentiles_are_right_to_a_thousandth():
    nanoseconds = np.random.default_rng(0).lognormal(12, 1, 5000).astype(np.int64)
    times = CallTimes([nanoseconds[:2000], nanoseconds[2000:]])
    assert times.calls == 5000
    rising = np.sort(nanoseconds) / 1e6
    for percent in (50, 90, 99, 99.9):
        place = round(50 * percent)
        assert 0.998 * rising[place - 2] <= times.percentile(percent) <= 1.002 * rising[place]
    assert times.as_dict()["max"] == pytest.approx(nanoseconds.max() / 1e6, rel=2e-3)


@pytest.mark.parametrize(
    ("calls", "known"), [(2, 1), (9, 1), (10, 2), (99, 2), (100, 3), (999, 3), (1000, 4)]
)
def test_a_percentile_takes_a_call_beyond_it(calls: int, known: int):
    shown = CallTimes([np.full(calls, 1_000_000)]).as_dict()
    percentiles = [shown[name] for name in ("p50", "p90", "p99", "p99_9")]
    assert [value is not None for value in percentiles] == [place < known for place in range(4)]


def test_the_ratio_is_taken_within_rounds():
    """A machine that is three times slower in one round moves no ratio."""
    ours = CallTimes([np.full(5, 100), np.full(5, 300), np.full(5, 100)])
    theirs = CallTimes([np.full(5, 200), np.full(5, 600), np.full(5, 250)])
    assert median_ratio(theirs, ours) == pytest.approx((2.0, 2.0, 2.5))


class _Counting:
    """Answers at once, and remembers who was asked what."""

    def __init__(self, name: str, log: list[tuple[str, str]]) -> None:
        self._name, self._log = name, log

    def search(self, histories: Histories, prompts: Sequence[str], k: int) -> Rows:
        self._log.append((self._name, prompts[0]))
        return np.zeros((len(histories), k), dtype=np.int64)


class _Quiet:
    def step(self, text: str) -> None:
        return

    def tick(self, number: int, rounds: int) -> None:
        return


def test_fresh_prompts_are_asked_once_and_in_time():
    log: list[tuple[str, str]] = []
    batches = [([["a"]], [f"prompt {number}"]) for number in range(50)]
    assert len(time_calls(_Counting("one", log), batches, 60.0, again=False)) == 50
    assert [prompt for _, prompt in log] == [f"prompt {number}" for number in range(50)]
    assert len(time_calls(_Counting("one", log), batches, 0.0, again=False)) == 1  # no time, yet a call
    assert len(time_calls(_Counting("one", log), batches, 0.05, again=True)) > 50


def test_contenders_take_turns_to_begin():
    log: list[tuple[str, str]] = []
    pipelines = {name: _Counting(name, log) for name in ("a", "b", "c")}
    rounds = [[([["x"]], [str(number)])] * 2 for number in range(3)]
    times = time_rounds(pipelines, rounds, 0.0, _Quiet(), again=False)
    assert list(times) == ["a", "b", "c"]
    assert [of.calls for of in times.values()] == [3, 3, 3]
    assert log == [
        *(("a", "0"), ("b", "0"), ("c", "0")),
        *(("b", "1"), ("c", "1"), ("a", "1")),
        *(("c", "2"), ("a", "2"), ("b", "2")),
    ]
