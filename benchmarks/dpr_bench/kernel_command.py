# dpr-bench kernel, top to bottom: what is chosen, measured in which order, and written where.
"""Run the kernel's benchmarks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from rich.console import Console

from dpr_bench.kernel_ceilings import measure_ceilings
from dpr_bench.kernel_curves import curve_cases, measure_curves
from dpr_bench.kernel_goal_runs import GoalSetup, measure_goals
from dpr_bench.kernel_goal_tables import goals_table
from dpr_bench.kernel_goals import GOALS, Goal
from dpr_bench.kernel_grid import GridCase, grid_cases, measure_grid
from dpr_bench.kernel_index_cache import IndexCache
from dpr_bench.kernel_levels import level_cases, measure_levels
from dpr_bench.kernel_plots import plot_latency, plot_recall
from dpr_bench.kernel_progress import RichWatch, Watch
from dpr_bench.kernel_report import kernel_markdown
from dpr_bench.kernel_results import KernelResults, describe_peers
from dpr_bench.kernel_threads import one_thread
from dpr_bench.kernel_timing import Budget
from dpr_infer.bundle import open_bundle

__all__ = ["KernelOptions", "run_kernel"]

_TABLE_WIDTH = 96  # of the goals, where the terminal does not say
# Graphs that are built hastily fit into a quick run.
_QUICK_CONSTRUCTION, _CONSTRUCTION = 100, 200
_QUICK_BUDGET = Budget(seconds=18, round_seconds=2.5, fewest_rounds=5, most_rounds=25)
_GOAL_BUDGET = Budget(seconds=30, round_seconds=3, fewest_rounds=9, most_rounds=50)
_CELL_BUDGET = Budget(seconds=3, round_seconds=1, fewest_rounds=3, most_rounds=25)
_CURVE_BUDGET = Budget(seconds=6, round_seconds=1.5, fewest_rounds=3, most_rounds=25)


@dataclass(frozen=True, kw_only=True)
class KernelOptions:
    """What the command line asks for; ``cases`` are parts of names, none means all."""

    quick: bool
    out: Path | None
    bundles: Sequence[Path]
    cache_dir: Path
    cases: Sequence[str]
    scale: float

    @property
    def command(self) -> str:
        """The command line that asks for this."""
        words = ["dpr-bench kernel", *(["--quick"] if self.quick else [])]
        words += [f"--bundle {bundle}" for bundle in self.bundles]
        words += [f"--cases {part}" for part in self.cases]
        return " ".join(words + ([] if self.scale == 1 else [f"--scale {self.scale:g}"]))


def run_kernel(options: KernelOptions, console: Console) -> KernelResults:
    """Measure what is chosen, show it, and write it after every step.

    Parameters
    ----------
    options : KernelOptions
        What to do.
    console : Console
        Where progress and goals are shown.

    Returns
    -------
    KernelResults
        Everything that was measured.

    Raises
    ------
    ValueError
        If no case has such a name, or there is no reference to check against.
    BundleError
        If a bundle cannot be opened.
    """
    begun = perf_counter()
    plan = _plan(options)
    if any(case.data == "real" for case in plan.goals):
        open_bundle(options.bundles[0])  # what is not there should show now, not after minutes
    watch = RichWatch(console)
    with one_thread(), watch.shown():
        watch.step("measuring what the machine can do")
        results = KernelResults(options.command, describe_peers(), measure_ceilings())
        for _ in _measure(plan, options, results, watch):
            results.minutes = (perf_counter() - begun) / 60
            if options.out is not None:
                _write(results, options.out, quick=options.quick)
    if results.goals:
        Console(file=console.file, width=max(console.width, _TABLE_WIDTH)).print(goals_table(results.goals))
    console.print(f"{results.mismatches} mismatches; {results.minutes:.1f} minutes")
    if options.out is not None:
        console.print(f"Written: {options.out / _name(quick=options.quick)}.json and .md", markup=False)
    return results


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """The chosen cases."""

    goals: list[Goal]
    grid: list[GridCase]
    curves: list[GridCase]
    levels: list[GridCase]


def _plan(options: KernelOptions) -> _Plan:
    grid = [] if options.quick else grid_cases(options.bundles)
    curves, levels = curve_cases(grid), level_cases(grid)
    names = [goal.name for goal in GOALS] + [case.name for case in [*grid, *curves, *levels]]
    chosen = {name for name in names if not options.cases or any(part in name for part in options.cases)}
    if not chosen:
        raise ValueError(f"cases must be parts of {', '.join(names)}; got {', '.join(options.cases)}")
    return _Plan(
        goals=[goal for goal in GOALS if goal.name in chosen],
        grid=[case for case in grid if case.name in chosen],
        curves=[case for case in curves if case.name in chosen],
        levels=[case for case in levels if case.name in chosen],
    )


def _measure(plan: _Plan, options: KernelOptions, results: KernelResults, watch: Watch) -> Iterator[None]:
    """Fill in the results; yields whenever a part of them is whole."""
    cache = IndexCache(options.cache_dir / "kernel-indexes")
    setup = GoalSetup(
        bundle=options.bundles[0],
        cache=cache,
        ceilings=results.ceilings,
        budget=_QUICK_BUDGET if options.quick else _GOAL_BUDGET,
        watch=watch,
        scale=options.scale,
        construction=_QUICK_CONSTRUCTION if options.quick else _CONSTRUCTION,
    )
    for row in measure_goals(plan.goals, setup):
        results.goals.append(row)
        results.goals.sort(key=lambda row: GOALS.index(row.goal))
        yield
    for case in plan.grid:
        rows, left_out = measure_grid(
            case, ceilings=setup.ceilings, budget=_CELL_BUDGET, watch=watch, scale=setup.scale
        )
        results.grid += rows
        results.skipped += left_out
        yield
    for case in plan.curves:
        results.curves += measure_curves(
            case,
            cache=cache,
            construction=setup.construction,
            budget=_CURVE_BUDGET,
            watch=watch,
            scale=setup.scale,
        )
        yield
    for case in plan.levels:
        results.levels += measure_levels(case, budget=_CELL_BUDGET, watch=watch, scale=setup.scale)
        yield


def _write(results: KernelResults, out: Path, *, quick: bool) -> None:
    out.mkdir(parents=True, exist_ok=True)
    name = _name(quick=quick)
    plots = [
        picture
        for picture, drawn in (
            ("kernel_latency.png", plot_latency(results.grid, out / "kernel_latency.png")),
            ("kernel_recall.png", plot_recall(results.curves, out / "kernel_recall.png")),
        )
        if drawn
    ]
    results.write_json(out / f"{name}.json")
    (out / f"{name}.md").write_text(kernel_markdown(results, plots), encoding="utf-8")


def _name(*, quick: bool) -> str:
    return "kernel_quick" if quick else "kernel"
