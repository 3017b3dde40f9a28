# The kernel's results as pictures: time against the size of the catalogue, throughput against recall.
"""Plot the kernel's results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

from dpr_bench.kernel_curves import CurvePoint
from dpr_bench.kernel_grid import GridRow

__all__ = ["plot_latency", "plot_recall"]

_LEAST_RECALL = 0.85  # below, nobody would want to be
_OURS = "#2a7f62"
_COLOURS = {
    "dpr-infer": _OURS,
    "faiss flat": "#c2693c",
    "onnxruntime": "#4b6c9e",
    "torch": "#8d6aa8",
    "numpy": "#7f8a94",
    "hnswlib": "#c2693c",
    "faiss HNSW": "#4b6c9e",
    "faiss IVF": "#8d6aa8",
    "usearch": "#7f8a94",
    "ScaNN": "#b59a2d",
}


def plot_latency(rows: Sequence[GridRow], path: Path) -> bool:
    """Draw time against N, a panel a batch size: clustered items, D = 64, k = 10.

    Parameters
    ----------
    rows : sequence of GridRow
        The grid.
    path : Path
        The picture.

    Returns
    -------
    bool
        False, and no picture, if the grid has no such row.
    """
    chosen = [row for row in rows if row.data == "clustered" and row.dim == 64 and row.k == 10]
    if not chosen:
        return False
    batches = sorted({row.batch for row in chosen})
    figure, axes = _panels(len(batches))
    for axis, batch in zip(axes, batches, strict=True):
        for name, line in _lines(row for row in chosen if row.batch == batch).items():
            sizes = sorted(line)
            axis.plot(
                sizes,
                [line[size] for size in sizes],
                marker="o",
                markersize=4,
                linewidth=2.4 if name == "dpr-infer" else 1.4,
                color=_COLOURS[name],
                label=name,
                zorder=3 if name == "dpr-infer" else 2,
            )
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_title(f"B = {batch}", fontsize=10)
        axis.set_xlabel("items")
    axes[0].set_ylabel("ms a call (lower is better)")
    return _save(figure, axes, "Clustered items, D = 64, k = 10, one thread", path)


def plot_recall(points: Sequence[CurvePoint], path: Path) -> bool:
    """Draw throughput against recall, a panel a batch size: the largest clustered catalogue, k = 10.

    Parameters
    ----------
    points : sequence of CurvePoint
        The curves.
    path : Path
        The picture. Ours are stars at recall 1.

    Returns
    -------
    bool
        False, and no picture, if there is no such point.
    """
    chosen = [point for point in points if point.data == "clustered" and point.k == 10]
    if not chosen:
        return False
    n_items = max(point.n_items for point in chosen)
    chosen = [point for point in chosen if point.n_items == n_items]
    batches = sorted({point.batch for point in chosen})
    figure, axes = _panels(len(batches))
    for axis, batch in zip(axes, batches, strict=True):
        part = [point for point in chosen if point.batch == batch]
        for library in dict.fromkeys(point.library for point in part):
            line = [(p.recall, p.queries_per_s) for p in part if p.library == library]
            ours = library == "dpr-infer"
            axis.plot(
                [recall for recall, _ in line],
                [rate for _, rate in line],
                marker="*" if ours else "o",
                markersize=16 if ours else 4,
                linestyle="none" if ours else "-",
                color=_COLOURS[library],
                label="dpr-infer, exact" if ours else library,
                zorder=3 if ours else 2,
                clip_on=not ours,
            )
        axis.set_yscale("log")
        axis.set_xlim(_LEAST_RECALL, 1.0)
        axis.set_title(f"B = {batch}", fontsize=10)
        axis.set_xlabel("recall@10")
    axes[0].set_ylabel("queries a second (higher is better)")
    return _save(figure, axes, f"{n_items:,} clustered items, D = 64, k = 10, one thread", path)


def _lines(rows: Any) -> dict[str, dict[int, float]]:
    """Median milliseconds by contender and N; of faiss flat the better setting."""
    lines: dict[str, dict[int, float]] = {}
    for row in rows:
        name = row.contender.partition(",")[0]
        line = lines.setdefault(name, {})
        line[row.n_items] = min(row.times.median_ms, line.get(row.n_items, float("inf")))
    return lines


def _panels(count: int) -> tuple[Any, Any]:
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, count, figsize=(4.2 * count, 3.6), layout="constrained", squeeze=False)
    return figure, axes[0]


def _save(figure: Any, axes: Any, title: str, path: Path) -> bool:
    from matplotlib import pyplot as plt

    for axis in axes:
        axis.grid(visible=True, which="major", color="#e3e6e9", linewidth=0.8)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=9)
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=150)
    plt.close(figure)
    return True
