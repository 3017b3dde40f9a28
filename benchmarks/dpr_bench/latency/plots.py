# Pictures of the latency benchmark.
"""Plot whole queries and their steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

from dpr_bench.latency.contenders import OURS
from dpr_bench.latency.rounds import LatencyRow
from dpr_bench.latency.steps import StepsRow

__all__ = ["plot_latency", "plot_steps"]

_OURS, _OUR_VARIANTS, _PEERS = "#2a7f62", "#7bb69f", "#b8bfc6"
_STEPS = {
    "tokenise": "#c9a227",
    "encode_prompt": "#9a6b3f",
    "encode_history": "#2a7f62",
    "fuse": "#7bb69f",
    "score": "#3b6ea5",
    "other": "#b8bfc6",
}


def plot_latency(rows: Sequence[LatencyRow], path: Path) -> None:
    """Draw p50 of every contender, a panel a case, with a line to p99 where it is known.

    Parameters
    ----------
    rows : sequence of LatencyRow
        Of one number of threads.
    path : Path
        Of the PNG.
    """
    plt = _pyplot()
    sizes = list(dict.fromkeys(row.batch for row in rows))
    figure, axes = plt.subplots(
        2, len(sizes), figsize=(4.3 * len(sizes), 5.6), layout="constrained", squeeze=False, sharey=True
    )
    for line, cached in zip(axes, (True, False), strict=True):
        for axis, size in zip(line, sizes, strict=True):
            _panel(axis, [row for row in rows if (row.batch, row.cached) == (size, cached)][::-1])
    for axis in axes[-1]:
        axis.set_xlabel("ms a call: p50, line to p99 (lower is better)", fontsize=9)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _panel(axis: Any, rows: Sequence[LatencyRow]) -> None:
    names = [row.pipeline for row in rows]
    bars = axis.barh(names, [row.p50 for row in rows], color=[_colour(name) for name in names], height=0.7)
    for place, row in enumerate(rows):
        tail = row.times["p99"]
        if tail is not None:
            axis.plot([row.p50, tail], [place, place], color="#4a4f55", linewidth=0.9)
    largest = max(row.times["p99"] or row.p50 for row in rows)
    for bar, row in zip(bars, rows, strict=True):
        end = row.times["p99"] or row.p50
        place = bar.get_y() + bar.get_height() / 2
        axis.text(end + 0.02 * largest, place, f"{row.p50:.3g}  ({row.ratio:.2g}x)", va="center", fontsize=8)
    axis.set_xlim(0, 1.35 * largest)
    axis.set_title(rows[0].case, fontsize=10)
    axis.tick_params(labelsize=9)
    axis.tick_params(axis="y", length=0)
    axis.spines[["top", "right"]].set_visible(False)


def _colour(name: str) -> str:
    if name == OURS:
        return _OURS
    return _OUR_VARIANTS if name.startswith(OURS) else _PEERS


def plot_steps(rows: Sequence[StepsRow], path: Path) -> None:
    """Draw the steps of a query as stacked bars, a bar a case.

    Parameters
    ----------
    rows : sequence of StepsRow
        Medians, milliseconds a query.
    path : Path
        Of the PNG.
    """
    plt = _pyplot()
    figure, axis = plt.subplots(figsize=(9, 0.9 + 0.55 * len(rows)), layout="constrained")
    cases = [row.case for row in rows][::-1]
    left = [0.0] * len(rows)
    for step, colour in _STEPS.items():
        widths = [row.steps[step] for row in rows][::-1]
        axis.barh(cases, widths, left=left, color=colour, label=step.replace("_", " "), height=0.6)
        left = [begin + width for begin, width in zip(left, widths, strict=True)]
    for place, total in enumerate(left):
        axis.text(total, place, f" {total:.3f}", va="center", fontsize=9)
    axis.set_xlim(0, 1.12 * max(left))
    axis.set_xlabel("ms a query (lower is better)")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=9, ncols=len(_STEPS), loc="lower center", bbox_to_anchor=(0.45, 1.0))
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _pyplot() -> Any:
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    return plt
