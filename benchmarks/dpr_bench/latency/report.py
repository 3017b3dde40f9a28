# The page of the results.
"""Write latency results for readers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.table import Table

from dpr_bench.kernel_tables import markdown_table
from dpr_bench.latency.agreement import Agreement, K
from dpr_bench.latency.goals import GoalRow
from dpr_bench.latency.results import LatencyResults
from dpr_bench.latency.times import PERCENTILES

__all__ = ["goals_table", "latency_markdown"]

_GOALS = ("case", "must", "aim", "measured", "met", "")
_METHOD = (
    "Milliseconds a call, by the wall clock, recorded in an HdrHistogram; a percentile that fewer than one call lies "
    "beyond is left out. Contenders take turns in {rounds} rounds; the ratio is the median, over rounds, of a "
    "contender's median over that of dpr-infer in the same round, with the least and the most of the rounds: above 1, "
    "dpr-infer is faster. Every contender keeps what its prompt encoder says of a prompt, for the newest 1,024 "
    "prompts; where prompts are not cached, none was asked before. dpr-infer's times include ids, titles, tags and the "
    "check of its arguments; the others' end at row numbers."
)
_MILLION = (
    "A bundle of the same model whose own items are repeated with noise (0.3 of a vector's length, part by part), made "
    "by `dpr_infer.extend_bundle`; the contenders open it, and the graphs are the same."
)
_OUTSIDE = (
    "Outside engines and kernel, B = 1, prompt cached, float32 bundle: **{outside:.1f} us** of {total:.1f} us a query; "
    "{engines:.1f} us in onnxruntime's sessions, {kernel:.1f} us in the kernel (medians, each of its own)."
)


def latency_markdown(
    results: LatencyResults,
    goals: Sequence[GoalRow],
    command: str,
    setup: dict[str, Any],
    pictures: tuple[str, str],
) -> str:
    """The results as a Markdown page.

    Parameters
    ----------
    results : LatencyResults
        As measured.
    goals : sequence of GoalRow
        What became of the promises.
    command : str
        What made them.
    setup : dict
        Machine and versions.
    pictures : (str, str)
        Files of the plots: latency, and steps.
    """
    latency, steps = pictures
    parts = [
        f"# Latency, {results.bundle['name']}",
        _made(results, command, setup),
        "## Goals",
        "One thread, float32 unless it says otherwise.",
        markdown_table(_GOALS, map(_goal_cells, goals), left=1),
        _METHOD.format(rounds=results.rounds),
        f"![p50 by case]({latency})",
        *_cases(results),
        "## First calls",
        "Opened anew in a warm process, then one query with a prompt: medians, milliseconds, one thread.",
        _cold(results),
        f"## {results.million[0].items:,} items",
        _MILLION,
        _million(results),
        "## Where the time goes",
        f"![Milliseconds a query by step]({steps})",
        _OUTSIDE.format(**results.outside.as_dict()),
        _steps(results),
        "## A fresh process",
        _start_up(results),
        _memory(results),
        "## The same answers",
        f"Compared before anything was timed: top {K}, batches of one and of many.",
        _agreement(results),
        *_left_out(results),
    ]
    return "\n\n".join(parts) + "\n"


def goals_table(goals: Sequence[GoalRow]) -> Table:
    """Goals for the terminal."""
    table = Table(title="Goals of latency, one thread")
    for column in _GOALS:
        table.add_column(column, justify="left" if column in ("case", "met", "") else "right")
    for goal in goals:
        table.add_row(*_goal_cells(goal, bold=False), style="red" if goal.met == "no" else None)
    return table


def _made(results: LatencyResults, command: str, setup: dict[str, Any]) -> str:
    bundle, asked = results.bundle, results.questions
    lengths = asked["lengths"]
    openvino = f", OpenVINO {setup['openvino']}" if "openvino" in setup else ""
    return (
        f"Made by `{command}` in {results.minutes:.1f} minutes. {setup['cpu']}, {setup['cores']} cores, SIMD level "
        f"{setup['simd_level']}; Python {setup['python']}, onnxruntime {setup['onnxruntime']}, torch {setup['torch']}, "
        f"faiss {setup['faiss-cpu']}, NumPy {setup['numpy']}{openvino}; commit {setup['commit']}. "
        f"{bundle['items']:,} items of {bundle['item_dim']} dimensions, {bundle['tags']} tags, {bundle['experts']} "
        f"experts, {bundle['prompt_encoder']} prompt encoder, k = {K}. Histories: {asked['source']}; "
        f"{lengths['least']} to {lengths['most']} items, quartiles {lengths['p25']}, {lengths['p50']}, "
        f"{lengths['p75']}; the newest {asked['limit']} are read, and {asked['longer_than_limit']:.0%} are longer. "
        f"{asked['prompts']} prompts."
    )


def _goal_cells(goal: GoalRow, *, bold: bool = True) -> tuple[str, ...]:
    met = "**no**" if bold and goal.met == "no" else goal.met
    shown = (goal.shown(value) for value in (goal.must, goal.aim, goal.measured))
    return (goal.case, *shown, met, goal.note)


def _cases(results: LatencyResults) -> Iterable[str]:
    header = ("case", "pipeline", "calls", *map(_percentile_name, PERCENTILES), "ratio", "queries/s")
    for threads in dict.fromkeys(row.threads for row in results.rows):
        yield f"## Whole queries, {_threads(threads)}"
        yield markdown_table(
            header,
            (
                (
                    row.case,
                    row.pipeline,
                    f"{row.times['calls']:,}",
                    *_times(row.times),
                    _ratio(row.ratio, row.ratio_low, row.ratio_high),
                    f"{1e3 * row.batch / row.p50:,.0f}",
                )
                for row in results.rows
                if row.threads == threads
            ),
            left=2,
        )


def _percentile_name(name: str) -> str:
    return name.replace("_", ".")


def _threads(threads: int) -> str:
    return "one thread" if threads == 1 else f"{threads} threads"


def _times(times: dict[str, Any]) -> list[str]:
    return ["-" if times[name] is None else _ms(times[name]) for name in PERCENTILES]


def _ms(value: float) -> str:
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"


def _ratio(ratio: float, low: float, high: float) -> str:
    return f"{ratio:.2f} [{low:.2f}, {high:.2f}]"


def _cold(results: LatencyResults) -> str:
    lines = ((row.pipeline, f"{row.open_ms:.0f}", f"{row.first_ms:.1f}") for row in results.cold)
    return markdown_table(("pipeline", "opening", "first call"), lines, left=1)


def _million(results: LatencyResults) -> str:
    header = ("pipeline", "calls", *map(_percentile_name, PERCENTILES), "ratio")
    lines = (
        (
            row.pipeline,
            f"{row.times['calls']:,}",
            *_times(row.times),
            _ratio(row.ratio, row.ratio_low, row.ratio_high),
        )
        for row in results.million
    )
    return markdown_table(header, lines, left=1)


def _steps(results: LatencyResults) -> str:
    names = list(results.steps[0].steps)
    lines = ((row.case, *(f"{row.steps[name]:.4f}" for name in names)) for row in results.steps)
    return "Medians, milliseconds a query, float32 bundle:\n\n" + markdown_table(
        ("case", *names), lines, left=1
    )


def _start_up(results: LatencyResults) -> str:
    header = ("bundle", "imports", "opening", "first answer", "opening + answer", "whole process", "resident")
    lines = (
        (
            row.bundle,
            *(f"{ms:.0f} ms" for ms in (row.import_ms, row.open_ms, row.first_ms, row.opening_ms)),
            f"{row.process_ms:.0f} ms",
            f"{row.rss_mib:.0f} MiB",
        )
        for row in results.start_up
    )
    return (
        f"Medians of {results.start_up[0].processes} processes, files in the system's cache.\n\n"
        + markdown_table(header, lines, left=1)
    )


def _memory(results: LatencyResults) -> str:
    memory = results.memory
    return (
        f"Memory: {memory.opened:.1f} MiB resident after opening, {memory.warm:.1f} MiB when the cache of prompts "
        f"was filled three times and histories of every length were read, {memory.samples[-1][1]:.1f} MiB after "
        f"{memory.queries:,} more queries, one in a hundred with a new prompt; at most {100 * memory.growth:+.2f} % "
        f"above the second figure on the way."
    )


def _agreement(results: LatencyResults) -> str:
    header = ("pipeline", "items", "queries", "equal top 10s", "shared items", "beyond rounding")
    many = f"{results.million[0].items:,}"
    listed: list[tuple[Agreement, str]] = [
        *((row, f"{results.bundle['items']:,}") for row in results.agreement),
        *((row, many) for row in results.million_agreement),
    ]
    lines = (
        (
            row.pipeline,
            items,
            str(row.queries),
            f"{row.same:.1%}",
            f"{row.shared:.1%}",
            f"{row.unexplained:.1%}",
        )
        for row, items in listed
    )
    return markdown_table(header, lines, left=1)


def _left_out(results: LatencyResults) -> list[str]:
    if not results.left_out:
        return []
    return ["Left out: " + "; ".join(f"{name} ({why})" for name, why in results.left_out.items()) + "."]
