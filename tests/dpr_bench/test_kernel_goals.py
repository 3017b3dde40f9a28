# A goal is reached by its ratio and by answers without a mismatch; a whole run writes what it measured.

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from dpr_bench import cli, kernel_command, kernel_curves
from dpr_bench.kernel_ceilings import Ceilings, Use
from dpr_bench.kernel_command import KernelOptions, run_kernel
from dpr_bench.kernel_curves import CurvePoint
from dpr_bench.kernel_goal_runs import GoalRow
from dpr_bench.kernel_goal_tables import goals_table
from dpr_bench.kernel_goals import GOALS
from dpr_bench.kernel_grid import GridRow, Skipped, grid_cases, scaled
from dpr_bench.kernel_levels import LevelRow
from dpr_bench.kernel_ours import OurIndex
from dpr_bench.kernel_report import kernel_markdown
from dpr_bench.kernel_results import KernelResults
from dpr_bench.kernel_timing import Budget, Summary
from tiny_bundle import write_tiny_bundle

BY_NAME = {goal.name: goal for goal in GOALS}
TIMES = Summary(median_ms=0.5, p10_ms=0.4, p90_ms=0.75, calls=640, rounds=10)
USE = Use(
    scanned_share=0.125,
    rescored=120,
    megabytes=8,
    bandwidth_share=0.4,
    giga_operations=0.02,
    int8_share=0.1,
)


def row(name: str, ratio: float, mismatches: int = 0) -> GoalRow:
    return GoalRow(
        goal=BY_NAME[name],
        n_items=1_000_000,
        dim=64,
        ours=TIMES,
        peer=replace(TIMES, median_ms=0.5 * ratio),
        peer_name="a peer",
        peer_note="as it likes to be",
        peer_recall=0.98,
        peer_same_order=0.5,
        ratio=ratio,
        ratio_pairwise=ratio,
        mismatches=mismatches,
        checked=128,
        use=USE,
        native=None,
    )


def test_every_goal_is_named_once_and_aims_beyond_its_must():
    assert len(BY_NAME) == len(GOALS)
    assert all(goal.reached(goal.aim) for goal in GOALS)
    assert not any(goal.aimed(goal.must) for goal in GOALS)


@pytest.mark.parametrize(
    ("name", "ratio", "reached", "aimed"),
    [
        ("goal-1m-b1-k10", 25, True, False),
        ("goal-1m-b1-k10", 24.9, False, False),
        ("goal-1m-b1-k10", 50, True, True),
        ("goal-1m-scann", 0.7, True, False),
        ("goal-1m-scann", 0.69, False, False),
        ("goal-1m-half", 1.4, True, False),  # a cost: lower is better
        ("goal-1m-half", 1.41, False, False),
        ("goal-1m-half", 1.15, True, True),
        ("goal-1m-penalty-relu-own", 3.0, True, False),
    ],
)
def test_reached_and_aimed(name, ratio, reached, aimed):
    assert (row(name, ratio).reached, row(name, ratio).aimed) == (reached, aimed)


def test_a_mismatch_reaches_nothing():
    wrong = row("goal-1m-b1-k10", 100, mismatches=1)
    assert not wrong.reached
    assert not wrong.aimed


def results() -> KernelResults:
    machine = {"cpu": "some CPU", "cores": 2, "simd_level": "scalar", "commit": "abc", "faiss-cpu": "1.2"}
    grid = GridRow(
        case="grid-4k",
        data="clustered",
        n_items=4000,
        dim=64,
        batch=16,
        k=10,
        contender="dpr-infer",
        times=TIMES,
        ratio_to_ours=1.0,
        ratio_pairwise=1.0,
        recall=1.0,
        same_order=1.0,
        mismatches=2,
        checked=512,
        use=USE,
    )
    slow = replace(grid, contender="numpy", ratio_to_ours=3.0, use=None, mismatches=None, checked=None)
    fast = replace(slow, contender="torch", ratio_to_ours=2.0)
    point = CurvePoint(
        case="curves",
        data="clustered",
        n_items=4000,
        dim=64,
        batch=1,
        k=10,
        library="hnswlib",
        effort="ef=16",
        setup="M=16",
        build_s=12,
        index_bytes=3_000_000,
        recall=0.97,
        times=TIMES,
        queries_per_s=2000,
    )
    level = LevelRow(
        case="levels",
        n_items=4000,
        batch=1,
        k=10,
        level="avx2",
        threads=2,
        times=TIMES,
        ratio=1.5,
        mismatches=1,
        checked=64,
    )
    return KernelResults(
        "dpr-bench kernel",
        machine,
        Ceilings(40, 0.9, "reading", "multiplying"),
        minutes=3,
        goals=[row("goal-1m-b1-k10", 30), row("goal-1m-half", 2), row("goal-1m-b1-k100", 99, mismatches=4)],
        grid=[grid, slow, fast],
        curves=[point],
        levels=[level],
        skipped=[Skipped("grid-10m", "torch", "a call took 9.0 s")],
    )


def test_the_page_says_what_was_measured():
    page = kernel_markdown(results(), ["kernel_recall.png"])
    assert "**1 of 3 goals reached; 7 mismatches.**" in page
    assert "some CPU, 2 cores, SIMD level scalar, commit abc; faiss-cpu 1.2" in page
    assert "| 1M, B=1, k=10, clustered | 0.5 [0.4, 0.75] | a peer |" in page
    assert "| **30.00** | 30.00 | 25 | 50 | yes | 0 of 128 |" in page
    assert "| **99.00** | 99.00 | 10 | 25 | **no** | 4 of 128 |" in page
    assert "| 12.5 % | 120 | 8 | 0.40 | 0.02 | 0.10 | - |" in page
    assert "![kernel recall](kernel_recall.png)" in page
    assert "| 16 | 10 | 0.5 [0.4, 0.75] | 0.5 | 0.5 | **2.00** |" in page, "the fastest peer's ratio"
    assert "| hnswlib | ef=16 | 0.9700 | 0.5 [0.4, 0.75] | 2,000 | 12 | 3 | M=16 |" in page
    assert "| levels | 4,000 | 1 | avx2 | 2 | 0.5 [0.4, 0.75] | 1.50 | 1 of 64 |" in page
    assert "* grid-10m: torch; a call took 9.0 s" in page


def test_there_is_no_ratio_where_every_peer_was_too_slow():
    alone = results()
    alone.grid = [row for row in alone.grid if row.contender == "dpr-infer"]
    assert "| 16 | 10 | 0.5 [0.4, 0.75] | - |" in kernel_markdown(alone, [])


def test_the_terminal_shows_every_goal(tmp_path):
    with (tmp_path / "shown").open("w", encoding="utf-8") as file:
        Console(file=file, width=96).print(goals_table(results().goals))
    shown = (tmp_path / "shown").read_text(encoding="utf-8")
    assert [name in shown for name in ("goal-1m-b1-k10", "goal-1m-half", "goal-1m-b1-k100")] == [True] * 3
    assert shown.count(" no ") == 2


def test_the_grid_has_every_size_width_and_noise():
    names = [case.name for case in grid_cases([Path("bundles/some")])]
    assert len(set(names)) == len(names) == 3 * 6 + 4 + 1 + 2 * 3 + 1
    assert "grid-1m-iid-d96" in names
    assert "grid-10m-real-some-noise0.3" in names
    assert "grid-4k-real-some" in names
    assert scaled(1_000_000, 0.5) == 500_000
    assert scaled(4_000, 0.01) == 1_000


@pytest.fixture
def hasty(monkeypatch):
    """Budgets and ceilings that cost no time."""
    for name in ("_QUICK_BUDGET", "_GOAL_BUDGET", "_CELL_BUDGET", "_CURVE_BUDGET"):
        budget = Budget(seconds=0, round_seconds=0, fewest_rounds=2, most_rounds=2)
        monkeypatch.setattr(kernel_command, name, budget)
    monkeypatch.setattr(kernel_command, "measure_ceilings", lambda: Ceilings(40, 0.9, "", ""))


def options(tmp_path: Path, *cases: str, quick: bool = False, scale: float = 0.002) -> KernelOptions:
    return KernelOptions(
        quick=quick,
        out=tmp_path / "out",
        bundles=[write_tiny_bundle(tmp_path / "tiny")],
        cache_dir=tmp_path / "cache",
        cases=cases,
        scale=scale,
    )


def test_quick_measures_every_goal_and_finds_no_mismatch(tmp_path, hasty):
    found = run_kernel(options(tmp_path, quick=True), Console(quiet=True))
    assert [row.goal.name for row in found.goals] == [goal.name for goal in GOALS]
    assert found.mismatches == 0
    assert all(row.checked >= 128 for row in found.goals)
    written = json.loads((tmp_path / "out" / "kernel_quick.json").read_text(encoding="utf-8"))
    assert written["mismatches"] == 0
    assert len(written["goals"]) == len(GOALS)
    exact = [row for row in found.goals if row.goal.recall == 1]
    assert min(row.peer_recall for row in exact) > 0.99
    assert "0 mismatches" in (tmp_path / "out" / "kernel_quick.md").read_text(encoding="utf-8")


def test_a_full_run_writes_tables_and_plots(tmp_path, hasty, monkeypatch):
    monkeypatch.setattr(kernel_curves, "_BATCHES", (1, 16))
    monkeypatch.setattr(kernel_curves, "_KS", (10,))
    cases = ["goal-4k-b1", "grid-4k-clustered-d64", "curves-100k-clustered", "levels-4k-iid"]
    found = run_kernel(options(tmp_path, *cases), Console(quiet=True))
    assert found.mismatches == 0
    assert {(row.batch, row.k) for row in found.grid} == {(b, k) for b in (1, 16, 256) for k in (10, 100)}
    assert {point.library for point in found.curves} > {
        "dpr-infer",
        "hnswlib",
        "faiss HNSW",
        "faiss IVF",
        "ScaNN",
    }
    assert {row.threads for row in found.levels} == {1, 2}
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"kernel.json", "kernel.md", "kernel_latency.png", "kernel_recall.png"}
    page = (tmp_path / "out" / "kernel.md").read_text(encoding="utf-8")
    assert all(name in page for name in ("kernel_latency.png", "kernel_recall.png", "usearch", "avx2"))


def test_wrong_answers_are_counted_and_reach_nothing(tmp_path, hasty, monkeypatch):
    honest = OurIndex.call

    def swapped(self, question, **more):
        call = honest(self, question, **more)
        return lambda: tuple(np.ascontiguousarray(array[:, ::-1]) for array in call())

    monkeypatch.setattr(OurIndex, "call", swapped)
    found = run_kernel(options(tmp_path, "4k-b256", quick=True), Console(quiet=True))
    assert found.mismatches == 512
    assert found.missed == found.goals


def test_an_unknown_case_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["dpr-bench", "kernel", "--quick", "--cases", "9k"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 1
    assert "cases must be parts of goal-1m-b1-k10" in capsys.readouterr().err
