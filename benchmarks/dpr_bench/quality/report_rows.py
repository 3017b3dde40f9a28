# The main tables: one a task, one line a system and wording, the rows that we lose included.
"""Tables of systems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dpr_bench.kernel_tables import markdown_table
from dpr_bench.quality.summary import REFERENCES, Row

__all__ = ["main_tables", "percent_interval", "seeds_table", "unmasked_tables"]

_FIGURES = ("hr", "precision", "violation", "coverage", "popularity", "diversity")


def main_tables(rows: Sequence[Row], choice: str) -> list[str]:
    """A table for each task, history masked.

    Parameters
    ----------
    rows : sequence of dict
        Of :func:`summarise`, or of the JSON.
    choice : {"hard", "uniform"}
        How the tag was chosen.
    """
    header = (
        "system",
        "wording",
        "NDCG@10",
        "against {reference}",
        "if idioms are drawn",
        "HR@10",
        "precision",
        "violation",
        "coverage",
        "popularity",
        "diversity",
        "NDCG@10 unmasked",
    )
    return _by_task(rows, choice, "masked", header)


def unmasked_tables(rows: Sequence[Row]) -> list[str]:
    """The same with items of the history left in the ranking, tags chosen hard."""
    header = (
        "system",
        "wording",
        "NDCG@10",
        "against {reference}",
        "HR@10",
        "precision",
        "violation",
        "coverage",
        "popularity",
        "diversity",
    )
    return _by_task(rows, "hard", "unmasked", header)


def seeds_table(rows: Sequence[Row]) -> str:
    """NDCG@10 of ours seed by seed, beside the reference: tags chosen hard, history masked; empty for a single seed."""
    shown = [
        row
        for row in rows
        if row["choice"] == "hard" and row["system"] in ("ours", REFERENCES[row["task"]]) and row["seeds"] > 1
    ]
    if not shown:
        return ""
    count = shown[0]["seeds"]
    header = ("task", "system", "wording", *(f"seed {n + 1}" for n in range(count)), "standard deviation")
    lines = [
        (
            row["task"],
            row["system"],
            row["wording"],
            *(f"{value:.4f}" for value in row["masked"]["ndcg_by_seed"]),
            f"{row['masked']['ndcg_spread']:.4f}",
        )
        for row in shown
    ]
    return markdown_table(header, lines, left=3)


def _by_task(rows: Sequence[Row], choice: str, masking: str, header: Sequence[str]) -> list[str]:
    tables = []
    for task, reference in REFERENCES.items():
        mine = [row for row in rows if row["task"] == task and row["choice"] == choice]
        if not mine:
            continue
        named = [name.format(reference=f"the {reference}") for name in header]
        title = f"### {task.capitalize()}: {mine[0]['queries']:,} queries, {masking}, tags chosen {choice}"
        if task == "standard":
            title = f"### Standard: {mine[0]['queries']:,} queries, {masking}"
        tables.append(title + "\n\n" + markdown_table(named, [_line(row, masking) for row in mine], left=2))
    return tables


def _line(row: Row, masking: str) -> list[str]:
    found = row[masking]
    cells = [
        f"**{row['system']}**" if row["system"].startswith("ours") else row["system"],
        row["wording"],
        _with_interval(found["ndcg_interval"]),
        percent_interval(found.get("versus")),
    ]
    if masking == "masked":
        cells.append(percent_interval(found.get("versus_by_family")))
    cells += ["-" if found[name] is None else f"{found[name]:.3f}" for name in _FIGURES]
    if masking == "masked":
        cells.append(f"{row['unmasked']['ndcg']:.4f}")
    return cells


def percent_interval(versus: dict[str, Any] | None) -> str:
    """A paired difference in percent of the reference, with its interval; the reference itself is "-"."""
    if versus is None or versus["percent"]["mean"] is None:
        return "-"
    percent = versus["percent"]
    if percent["mean"] == percent["low"] == percent["high"] == 0:
        return "same"
    low, high = ("?" if percent[side] is None else f"{percent[side]:+.1f}" for side in ("low", "high"))
    return f"{percent['mean']:+.1f} % [{low}, {high}]"


def _with_interval(interval: dict[str, float]) -> str:
    return f"{interval['mean']:.4f} [{interval['low']:.4f}, {interval['high']:.4f}]"
