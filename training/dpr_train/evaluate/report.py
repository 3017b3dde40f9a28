# The results as a table for people. The numbers are evaluation.py's.
"""Render evaluation results."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from dpr_train.evaluate.evaluation import ResultRow

__all__ = ["results_markdown", "results_table"]

_COLUMNS = (
    "task",
    "system",
    "wording",
    "queries",
    "NDCG@10",
    "HR@10",
    "violation@10",
    "precision@10",
    "NDCG@10 unmasked",
)


def _cells(row: ResultRow) -> tuple[str, ...]:
    def share(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    return (
        row.task,
        row.system,
        row.wording,
        str(row.queries),
        f"{row.ndcg:.4f} ± {row.ndcg_se:.4f}",
        f"{row.hr:.4f}",
        share(row.violation),
        share(row.precision),
        f"{row.ndcg_unmasked:.4f}",
    )


def results_table(rows: Sequence[ResultRow], title: str) -> Table:
    """Make a rich table with one section a task; ± is one standard error over queries."""
    table = Table(
        title=title, caption="full ranking; items of the history masked unless said; ± one standard error"
    )
    for column in _COLUMNS:
        table.add_column(column, justify="left" if column in _COLUMNS[:3] else "right", no_wrap=True)
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        table.add_row(*_cells(row), end_section=following is None or following.task != row.task)
    return table


def results_markdown(rows: Sequence[ResultRow]) -> str:
    """Return the same table in Markdown."""
    lines = ["| " + " | ".join(_COLUMNS) + " |", "|" + " --- |" * len(_COLUMNS)]
    return "\n".join([*lines, *("| " + " | ".join(_cells(row)) + " |" for row in rows)]) + "\n"
