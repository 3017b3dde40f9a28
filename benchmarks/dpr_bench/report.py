# Results as JSON, as a table, and as a picture.
"""Write latency results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

from dpr_bench.latency import LatencyRow

__all__ = ["latency_markdown", "write_latency"]


def latency_markdown(rows: Sequence[LatencyRow], machine: dict[str, Any], command: str) -> str:
    """The results as a Markdown page: what was measured, on what, and by which command."""
    lines = [
        "# Latency",
        "",
        f"Made by `{command}`. {machine['cpu']}, {machine['cores']} cores, SIMD level {machine['simd_level']}, "
        f"onnxruntime {machine['onnxruntime']}, commit {machine['commit']}.",
        "",
        "Milliseconds a call. p50 is the best of the rounds' medians; the ratio is the median, over rounds, of the "
        "pipeline's median over dpr-infer's in the same round (above 1: dpr-infer is faster).",
        "",
        "| case | pipeline | p50 | p90 | p99 | ratio |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {r.case} | {r.pipeline} | {r.p50:.3f} | {r.p90:.3f} | {r.p99:.3f} | {r.ratio:.2f} |" for r in rows
    ]
    return "\n".join([*lines, "", "![p50 by case](latency.png)", ""])


def write_latency(rows: Sequence[LatencyRow], machine: dict[str, Any], command: str, out: Path) -> None:
    """Write ``latency.json``, ``latency.md`` and ``latency.png`` into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    document = {"command": command, "machine": machine, "rows": [row.as_dict() for row in rows]}
    (out / "latency.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    (out / "latency.md").write_text(latency_markdown(rows, machine, command), encoding="utf-8")
    _plot(rows, out / "latency.png")


def _plot(rows: Sequence[LatencyRow], path: Path) -> None:
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    cases = list(dict.fromkeys(row.case for row in rows))
    figure, axes = plt.subplots(1, len(cases), figsize=(4 * len(cases), 2.6), layout="constrained")
    for axis, case in zip(axes, cases, strict=True):
        part = [row for row in rows if row.case == case][::-1]
        bars = axis.barh(
            [row.pipeline for row in part],
            [row.p50 for row in part],
            color=["#2a7f62" if row.pipeline == "dpr-infer" else "#b8bfc6" for row in part],
        )
        axis.bar_label(bars, [f"{row.p50:.2f}" for row in part], padding=3)
        axis.set_title(case, fontsize=10)
        axis.set_xlabel("p50, ms (lower is better)")
        axis.margins(x=0.2)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    plt.close(figure)
