# The results for readers: one table, in Markdown and in the terminal, and JSON beside it.
"""Write the results of the ablations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from dpr_bench.ablations.intervals import Difference
from dpr_bench.ablations.measure import ALL_PROMPTS, VIOLATION
from dpr_bench.ablations.plot import plot_ablations
from dpr_bench.ablations.results import AblationRow
from dpr_bench.kernel_tables import markdown_table

__all__ = ["FULL_WIDTH", "AblationRun", "ablations_markdown", "ablations_table", "write_ablations"]

# Title of a column, what is measured, and the case.
_COLUMNS = (
    ("standard", "ndcg", "standard"),
    ("positive", "ndcg", "positive, seen"),
    ("negative", "ndcg", "negative, seen"),
    ("v, negative", "violation", "negative, seen"),
    ("compound", "ndcg", "compound, seen"),
    ("positive, validation wording", "ndcg", "positive, validation"),
    ("negative, validation wording", "ndcg", "negative, validation"),
    ("v, negative, validation wording", "violation", "negative, validation"),
    ("compound, validation wording", "ndcg", "compound, validation"),
    ("two asked", "ndcg", "two asked, seen"),
    ("two refused", "ndcg", "two refused, seen"),
    ("two asked, one refused", "ndcg", "two asked, one refused, seen"),
    ("all prompts", "ndcg", ALL_PROMPTS),
    ("v, all refusals", "violation", VIOLATION),
)
_SUMS = ("standard", "all prompts", "v, all refusals")
FULL_WIDTH = 340  # characters that the whole table takes


@dataclass(frozen=True)
class AblationRun:
    """Everything that the report tells."""

    command: str
    dataset: str
    machine: dict[str, Any]
    seeds: Sequence[int]
    queries: dict[str, int]
    rows: Sequence[AblationRow]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "command": self.command,
            "dataset": self.dataset,
            "machine": self.machine,
            "seeds": list(self.seeds),
            "queries": self.queries,
            "rows": [row.as_dict() for row in self.rows],
        }


def ablations_markdown(run: AblationRun) -> str:
    """Tell everything on one page."""
    titles = _titles(run.rows)
    header = ("variant", "does without", "earns its place?", *titles, "s a seed")
    lines = [(r.variant, r.part, r.earns, *_cells(r, titles, "<br>"), f"{r.seconds:.0f}") for r in run.rows]
    queries = ", ".join(f"{name} {count}" for name, count in run.queries.items())
    seeds = f"{len(run.seeds)} seed{'s' if len(run.seeds) > 1 else ''} ({', '.join(map(str, run.seeds))})"
    return "\n\n".join(
        [
            "# What each part is worth",
            f"Made by `{run.command}`. {run.dataset}, {seeds}; {run.machine['cpu']}, {run.machine['cores']} cores, "
            f"commit {run.machine['commit']}.",
            "Stage 3 is trained again for every variant and seed on the backbone and the prompt encoder of one "
            "checkpoint, and measured on validation items: NDCG@10 over the whole catalogue, items of the history left "
            "out; v is violation@10, the share of the top ten that carries a refused tag (lower is better). The "
            "default is given as it is, the others as their difference to it with its 95 % interval: paired bootstrap "
            "over users, mean over seeds first; bold where the interval leaves out 0. Intervals tell how sure a "
            "difference is over users, not over checkpoints, and are not widened for the number of comparisons.",
            "A part earns its place if doing without it is worse in one of three sums: `standard`, `all prompts` (each "
            "user's mean over all cases with a prompt, those of the JSON that have no column included) and "
            "`v, all refusals`. Wishes are about tags; what the text side does for wishes about texts is not in here.",
            markdown_table(header, lines, left=3),
            f"Queries: {queries}.",
            "![Differences to the default](ablations.png)",
            "",
        ]
    )


def ablations_table(run: AblationRun, *, width: int) -> Table:
    """The same table for a terminal; where it is narrower than :data:`FULL_WIDTH`, the sums alone."""
    titles = [title for title in _titles(run.rows) if width >= FULL_WIDTH or title in _SUMS]
    table = Table(title=f"NDCG@10, {run.dataset}, validation; v is violation@10", show_lines=True)
    for number, column in enumerate(("variant", *titles, "earns its place?")):
        is_figure = 0 < number <= len(titles)
        table.add_column(
            column, justify="right" if is_figure else "left", min_width=18 if is_figure else None
        )
    for row in run.rows:
        cells = (cell.replace("**", "") for cell in _cells(row, titles, "\n"))
        table.add_row(row.variant, *cells, row.earns)
    return table


def write_ablations(run: AblationRun, out: Path) -> None:
    """Write ``ablations.json``, ``ablations.md`` and ``ablations.png`` into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "ablations.json").write_text(json.dumps(run.as_dict(), indent=1) + "\n", encoding="utf-8")
    (out / "ablations.md").write_text(ablations_markdown(run), encoding="utf-8")
    plot_ablations(run.rows, out / "ablations.png")


def _titles(rows: Sequence[AblationRow]) -> list[str]:
    """Columns that somebody took part in."""
    return [title for title, what, case in _COLUMNS if case in getattr(rows[0], what)]


def _cells(row: AblationRow, titles: Sequence[str], newline: str) -> list[str]:
    where = {title: (what, case) for title, what, case in _COLUMNS}
    found: list[Difference] = [getattr(row, what)[case] for what, case in map(where.__getitem__, titles)]
    if row.earns == "-":
        return [f"{d.mean:.4f}" for d in found]
    return [_cell(d, newline) for d in found]


def _cell(d: Difference, newline: str) -> str:
    if d.difference == d.low == d.high == 0:
        return "0"
    mark = "**" if d.above or d.below else ""
    return f"{mark}{d.difference:+.4f}{mark}{newline}[{d.low:+.4f}, {d.high:+.4f}]"
