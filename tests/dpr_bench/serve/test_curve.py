# Points, medians, and the throughput that a bound on p99 allows.

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpr_bench.serve.curve import CurvePoint, median_curve, throughput_within
from dpr_bench.serve.wrk import WrkResult


def point(connections: int, throughput: float, p99: float) -> CurvePoint:
    return CurvePoint(
        connections=connections,
        throughput=throughput,
        throughput_low=throughput,
        throughput_high=throughput,
        p50=p99 / 2,
        p99=p99,
        rounds=1,
        requests=1,
        shed=0,
        failures=0,
    )


def result(throughput: float, p99: float, **statuses: int) -> WrkResult:
    counts = {int(status[1:]): count for status, count in statuses.items()}
    return WrkResult(
        throughput=throughput,
        p50=p99 / 3,
        p90=p99 / 2,
        p99=p99,
        longest=p99,
        statuses=counts,
        socket_errors=1,
        timeouts=0,
    )


def test_rounds_become_medians_by_concurrency():
    rounds = [
        (8, result(90.0, 5.0, s200=90)),
        (1, result(10.0, 1.0, s200=10)),
        (8, result(100.0, 4.0, s200=100, s503=3)),
        (8, result(20.0, 50.0, s200=20, s500=2)),
    ]
    one, eight = median_curve(rounds)
    assert (one.connections, one.throughput, one.rounds) == (1, 10.0, 1)
    assert (eight.throughput, eight.throughput_low, eight.throughput_high) == (90.0, 20.0, 100.0)
    assert (eight.p99, eight.requests, eight.shed, eight.failures) == (5.0, 215, 3, 3 + 2)


CURVE = [point(1, 100, 2), point(2, 180, 4), point(4, 300, 10), point(8, 280, 40)]


@pytest.mark.parametrize(
    ("bound", "expected"),
    [
        (1.9, None),
        (2.0, 100.0),
        (3.0, 140.0),  # half-way between the first two
        (7.0, 240.0),
        (10.0, 300.0),
        (25.0, 300.0),  # past the best point throughput falls: nothing better between it and the next
        (1000.0, 300.0),
    ],
)
def test_throughput_within_a_bound(bound: float, expected: float | None):
    assert throughput_within(CURVE, bound) == expected


def test_a_curve_whose_p99_falls_again_counts_with_both_crossings():
    curve = [point(1, 100, 2), point(2, 110, 20), point(4, 400, 4)]
    assert throughput_within(curve, 4.0) == 400.0
    assert throughput_within(curve, 3.0) == pytest.approx(100 + 10 / 18)


finite = st.floats(0.1, 1e5)
curves = st.lists(st.tuples(finite, finite), min_size=1, max_size=9).map(
    lambda pairs: [point(2**n, throughput, p99) for n, (throughput, p99) in enumerate(pairs)]
)


@given(curve=curves, bounds=st.tuples(finite, finite))
def test_a_looser_bound_never_allows_less(curve: list[CurvePoint], bounds: tuple[float, float]):
    tight, loose = (throughput_within(curve, bound) for bound in sorted(bounds))
    if tight is not None:
        assert loose is not None
        assert loose >= tight * (1 - 1e-9)


@given(curve=curves, bound=finite)
def test_it_lies_between_what_was_measured(curve: list[CurvePoint], bound: float):
    found = throughput_within(curve, bound)
    measured = [one.throughput for one in curve]
    if found is None:
        assert all(one.p99 > bound for one in curve)
    else:
        assert min(measured) * (1 - 1e-9) <= found <= max(measured) * (1 + 1e-9)
        assert found >= max(one.throughput for one in curve if one.p99 <= bound)
