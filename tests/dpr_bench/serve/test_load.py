# The load on a tiny model: measured, told, drawn; and the figures of made-up rounds.

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from dpr_bench.serve import command
from dpr_bench.serve.agreement import Agreement
from dpr_bench.serve.command import ServeOptions, run_serve
from dpr_bench.serve.load import NAIVE, NAIVE_POOL, NAIVES, OURS, UNBATCHED, LoadPlan, LoadResults
from dpr_bench.serve.load_report import load_markdown, ratios_at_equal_p99
from dpr_bench.serve.pages import describe_setup
from dpr_bench.serve.wrk import WrkResult

AGREEMENT = Agreement(requests=512, shared=0.998, shared_without_prompt=1.0, worst=0.9, same_first=0.99)


def result(throughput: float, p50: float, p99: float) -> WrkResult:
    return WrkResult(
        throughput=throughput,
        p50=p50,
        p90=p99,
        p99=p99,
        longest=p99,
        statuses={200: 100},
        socket_errors=0,
        timeouts=0,
    )


@pytest.fixture
def results() -> LoadResults:
    rounds = {
        OURS: [(1, result(800, 1.0, 2.0)), (1, result(700, 1.2, 2.0)), (8, result(2000, 3.0, 8.0))],
        UNBATCHED: [(1, result(800, 1.0, 2.0)), (1, result(700, 1.0, 2.0)), (8, result(1000, 6.0, 9.0))],
        NAIVE: [(1, result(100, 9.0, 12.0)), (1, result(100, 9.0, 12.0)), (8, result(110, 60.0, 90.0))],
        NAIVE_POOL: [(1, result(80, 9.0, 18.0)), (1, result(80, 9.0, 18.0)), (8, result(125, 60.0, 90.0))],
    }
    return LoadResults(agreement=AGREEMENT, rounds=rounds, batch_sizes={1: 1.0, 8: 5.5})


def test_ratios_are_told_where_both_keep_the_bound(results: LoadResults):
    ratios = ratios_at_equal_p99(results, NAIVES)
    assert list(ratios) == [20.0, 50.0, 100.0, 200.0, 500.0, 1000.0]
    assert ratios[20.0] == pytest.approx(2000 / (100 + 10 * 8 / 78))  # of the better one, which is another
    assert ratios[100.0] == pytest.approx(2000 / 125)
    assert ratios_at_equal_p99(results, (UNBATCHED,))[5.0] == pytest.approx(
        (750 + 1250 * 0.5) / (750 + 250 * 3 / 7)
    )


def test_the_unloaded_ratio_compares_rounds_in_pairs(results: LoadResults):
    assert results.unloaded_ratio() == pytest.approx(1.1)


def test_the_page_tells_all(results: LoadResults):
    page = load_markdown(results, "the command", describe_setup(), 2, "picture.png")
    assert "| 5 ms | 1,375 | 857 | - | - | - | 1.60 |" in page
    assert "| 20 ms | 2,000 | 1,000 | 101 | 81 | 19.80 | 2.00 |" in page
    assert "| 8 | 2,000 | 2,000 to 2,000 | 3.00 | 8.00 | 0 | 0 | 5.5 |" in page
    assert "1.100 times that without batching" in page
    assert "share 9.98 on average" in page
    assert "(picture.png)" in page


@pytest.mark.debian("wrk", "wrk")
def test_the_whole_command(bundle: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(command, "QUICK_PLAN", LoadPlan(connections=(1, 4), rounds=1, seconds=1))
    options = ServeOptions(
        bundle=bundle, checkpoint=checkpoint, quick=True, soak=0, kills=0, faults=False, out=tmp_path
    )
    shown = StringIO()
    run_serve(options, Console(file=shown, width=200))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "serve_quick.json",
        "serve_quick.md",
        "serve_quick.png",
    ]
    document = json.loads((tmp_path / "serve_quick.json").read_text(encoding="utf-8"))
    assert set(document["curves"]) == {OURS, UNBATCHED, NAIVE, NAIVE_POOL}
    for curve in document["curves"].values():
        assert [point["connections"] for point in curve] == [1, 4]
        assert all(point["throughput"] > 0 and point["failures"] == 0 for point in curve)
    assert document["agreement"]["shared"] == 1.0
    assert document["batch_sizes"]["1"] == 1.0
    assert 1.0 <= document["batch_sizes"]["4"] <= 4.0
    assert "comparing answers" in shown.getvalue()
