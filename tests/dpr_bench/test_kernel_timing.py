# Contenders take turns on the same calls; medians and ratios are those of the numbers. Nothing here looks at a clock.

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from dpr_bench.kernel_ceilings import Ceilings, use_of
from dpr_bench.kernel_ours import Work
from dpr_bench.kernel_timing import Budget, Contender, Times, interleave, plan_rounds

BUDGET = Budget(seconds=10, round_seconds=2, fewest_rounds=3, most_rounds=20)


@pytest.mark.parametrize(
    ("one_call_s", "n_calls", "expected"),
    [
        (0.1, 64, (20, 5)),  # a round of 2 s, five of them in 10 s
        (0.001, 64, (64, 20)),  # no more calls than there are, no more rounds than allowed
        (30, 64, (1, 3)),  # the fewest rounds, however long
        (0.1, 4, (4, 20)),
    ],
)
def test_rounds_fit_the_budget(one_call_s, n_calls, expected):
    assert plan_rounds(one_call_s, n_calls, BUDGET) == expected


def test_everyone_runs_the_same_calls_in_turning_order(monkeypatch):
    monkeypatch.setattr("dpr_bench.kernel_timing.plan_rounds", lambda *_: (2, 3))
    log = []
    contenders = [
        Contender(name, [partial(log.append, (name, call)) for call in range(3)]) for name in ("one", "two")
    ]
    ticks = []
    times = interleave(contenders, BUDGET, lambda *numbers: ticks.append(numbers))
    assert log[:4] == [("one", 0)] * 2 + [("two", 0)] * 2, "the first call warms up"
    assert log[4:] == [
        *[("one", 0), ("one", 1), ("two", 0), ("two", 1)],
        *[("two", 2), ("two", 0), ("one", 2), ("one", 0)],
        *[("one", 1), ("one", 2), ("two", 1), ("two", 2)],
    ]
    assert ticks == [(1, 3), (2, 3), (3, 3)]
    assert times["two"].ms.shape == (3, 2)


def nothing():
    pass


@pytest.mark.parametrize(
    ("contenders", "message"),
    [
        ([], "equally many"),
        ([Contender("one", [])], "at least one"),
        ([Contender("one", [nothing]), Contender("two", [nothing] * 2)], r"got \[1, 2\]"),
        ([Contender("one", [nothing]), Contender("one", [nothing])], "different names"),
    ],
)
def test_unfair_contests_are_refused(contenders, message):
    with pytest.raises(ValueError, match=message):
        interleave(contenders, BUDGET)


def test_medians_spreads_and_ratios():
    ours = Times("ours", np.array([[1.0, 2.0], [3.0, 10.0]]))
    theirs = Times("theirs", np.array([[4.0, 4.0], [9.0, 10.0]]))
    summary = ours.summary()
    assert (summary.median_ms, summary.calls, summary.rounds) == (2.5, 4, 2)
    assert summary.p10_ms == pytest.approx(1.3)
    assert summary.p90_ms == pytest.approx(7.9)
    assert theirs.over(ours) == 6.5 / 2.5
    assert theirs.over_pairwise(ours) == 2.5  # of 4, 2, 3 and 1


def test_shares_of_the_ceilings():
    work = Work(pairs=200, scanned=50, rescored=7, bytes_read=4e6, operations=1e9)
    use = use_of(work, 2.0, Ceilings(read_gb_s=10, int8_tops=1, read_how="", int8_how=""))
    assert use.scanned_share == 0.25
    assert use.megabytes == 4
    assert use.bandwidth_share == pytest.approx(0.2)  # 4 MB in 2 ms are 2 GB/s
    assert use.int8_share == pytest.approx(0.5)
