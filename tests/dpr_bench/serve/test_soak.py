# Flat or not: a line through what a process held.

from __future__ import annotations

from pathlib import Path

import pytest

from dpr_bench.kernel_progress import Silence
from dpr_bench.serve.pages import describe_setup
from dpr_bench.serve.plots import plot_series
from dpr_bench.serve.processes import Footprint
from dpr_bench.serve.soak import SoakResults, measure_soak, soak_markdown
from dpr_bench.serve.wrk import WrkResult

LOAD = WrkResult(
    throughput=100.0,
    p50=1.0,
    p90=2.0,
    p99=3.0,
    longest=4.0,
    statuses={200: 1000, 503: 2},
    socket_errors=0,
    timeouts=0,
)


def soak(resident: list[float], threads: int = 5) -> SoakResults:
    samples = [(float(at), Footprint(value, 20, threads)) for at, value in enumerate(resident)]
    return SoakResults(samples=samples, warm_up_seconds=20.0, load=LOAD, visits={200: 9, 500: 1})


def test_growth_during_the_warm_up_does_not_count():
    results = soak([100.0 + 5 * min(at, 20) for at in range(101)])
    assert results.drift() == pytest.approx({"resident_mib": 0, "descriptors": 0, "threads": 0}, abs=1e-9)
    assert results.flat
    assert results.verdict.endswith("1 failures")


def test_growth_afterwards_does():
    results = soak([100.0 + 0.03 * max(at - 20, 0) for at in range(101)])
    assert results.drift()["resident_mib"] == pytest.approx(2.4 / 101.2, rel=1e-6)
    assert not results.flat
    assert results.verdict.startswith("NOT FLAT")


def test_what_wobbles_and_what_shrinks_is_flat():
    assert soak([100.0 + 4 * (at % 2) for at in range(101)]).flat
    assert soak([200.0 - at for at in range(101)]).flat


def test_it_is_drawn_and_told(tmp_path: Path):
    results = soak([100.0] * 101)
    page = soak_markdown(results, "the command", describe_setup(), "picture.png")
    assert "| resident, MiB | 100.0 | 100.0 | 100.0 | " in page
    assert "Flat." in page
    assert "(picture.png)" in page
    plot_series(*results.series(), tmp_path / "soak.png")
    assert (tmp_path / "soak.png").read_bytes().startswith(b"\x89PNG")


def test_too_short_to_tell(tmp_path: Path):
    with pytest.raises(ValueError, match="at least 20 seconds; got 5"):
        measure_soak(tmp_path, 5, Silence())
