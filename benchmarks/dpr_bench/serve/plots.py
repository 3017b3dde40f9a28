# Pictures of the server's benchmarks.
"""Plot load and soak."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

from dpr_bench.serve.curve import CurvePoint

__all__ = ["plot_load", "plot_series"]

_COLOURS = ("#2a7f62", "#7bb69f", "#9a6b3f", "#b8bfc6")


def plot_load(curves: Mapping[str, Sequence[CurvePoint]], path: Path) -> None:
    """Draw throughput against connections, and p99 against throughput.

    Parameters
    ----------
    curves : mapping of str to sequence of CurvePoint
        By server, which also gives the order of colours.
    path : Path
        Of the PNG.
    """
    plt = _pyplot()
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    for (server, curve), colour in zip(curves.items(), _COLOURS, strict=False):
        connections = [point.connections for point in curve]
        throughput = [point.throughput for point in curve]
        left.plot(connections, throughput, "o-", color=colour, label=server, markersize=4)
        left.fill_between(
            connections,
            [point.throughput_low for point in curve],
            [point.throughput_high for point in curve],
            color=colour,
            alpha=0.15,
            linewidth=0,
        )
        right.plot(throughput, [point.p99 for point in curve], "o-", color=colour, label=server, markersize=4)
    left.set_xscale("log", base=2)
    left.set_xticks(connections, [str(number) for number in connections])
    left.set_xlabel("connections")
    left.set_ylabel("answers a second (higher is better)")
    left.set_ylim(bottom=0)
    right.set_yscale("log")
    right.yaxis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:g}"))
    right.set_xlim(left=0)
    right.set_xlabel("answers a second")
    right.set_ylabel("p99, ms (lower is better)")
    left.legend(frameon=False, fontsize=9)
    _finish(figure, (left, right), path)


def plot_series(minutes: Sequence[float], series: Mapping[str, Sequence[float]], path: Path) -> None:
    """Draw quantities over time, one below the other, each from 0.

    Parameters
    ----------
    minutes : sequence of float
        When they were taken.
    series : mapping of str to sequence of float
        By axis label.
    path : Path
        Of the PNG.
    """
    plt = _pyplot()
    figure, axes = plt.subplots(
        len(series), 1, figsize=(8, 1.7 * len(series)), sharex=True, layout="constrained", squeeze=False
    )
    for axis, (label, values) in zip(axes[:, 0], series.items(), strict=True):
        axis.plot(minutes, values, color=_COLOURS[0], linewidth=1.2)
        axis.set_ylabel(label, fontsize=9)
        axis.set_ylim(0, 1.15 * max(values))
    axes[-1, 0].set_xlabel("minutes")
    _finish(figure, axes[:, 0], path)


def _pyplot() -> Any:
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    return plt


def _finish(figure: Any, axes: Sequence[Any], path: Path) -> None:
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", color="#e6e8ea", linewidth=0.6)
        axis.set_axisbelow(True)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    _pyplot().close(figure)
