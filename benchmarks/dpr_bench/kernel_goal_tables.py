# The goals as tables: in the terminal, and as sections of a Markdown page.
"""Write the kernel's goals for readers."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from dpr_bench.kernel_goal_runs import GoalRow
from dpr_bench.kernel_tables import markdown_table, spread

__all__ = ["WORK", "goals_markdown", "goals_table"]

WORK = (
    "Codes are one byte a dimension; a block holds 64 items. MB: codes of the blocks that were read, and float32 "
    "vectors of items that were rescored; of a batch, whose queries share blocks, at most so much. Shares are of what "
    "one core of this machine reads from memory and multiplies, as measured in this run; a share of bandwidth above 1 "
    "means that caches served the call."
)


def goals_markdown(rows: Sequence[GoalRow]) -> str:
    """Goals, what each call does, and the peers' settings.

    Parameters
    ----------
    rows : sequence of GoalRow
        As measured.

    Returns
    -------
    str
        Markdown sections.
    """
    return "\n\n".join([_goals(rows), _work(rows), _peers(rows)])


def goals_table(rows: Sequence[GoalRow]) -> Table:
    """Goals for the terminal.

    Parameters
    ----------
    rows : sequence of GoalRow
        As measured.

    Returns
    -------
    Table
        For a rich console.
    """
    table = Table(title="The kernel's goals")
    for column in ("case", "ours, ms", "peer, ms", "ratio", "must", "aim", "reached", "wrong"):
        table.add_column(column, justify="left" if column in ("case", "reached") else "right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.goal.name,
            f"{row.ours.median_ms:.3g}",
            f"{row.peer.median_ms:.3g}",
            f"{row.ratio:.2f}",
            f"{row.goal.must:g}",
            f"{row.goal.aim:g}",
            _reached(row),
            str(row.mismatches),
            style=None if row.reached else "red",
        )
    return table


def _goals(rows: Sequence[GoalRow]) -> str:
    header = (
        "case",
        "ours",
        "peer",
        "its time",
        "its recall",
        "ratio",
        "pairwise",
        "must",
        "aim",
        "reached",
        "mismatches",
    )
    lines = [
        (
            row.title,
            spread(row.ours),
            row.peer_name,
            spread(row.peer),
            f"{row.peer_recall:.4f}",
            f"**{row.ratio:.2f}**",
            f"{row.ratio_pairwise:.2f}",
            f"{row.goal.must:g}",
            f"{row.goal.aim:g}",
            f"{_reached(row)}" if row.reached else "**no**",
            f"{row.mismatches} of {row.checked}",
        )
        for row in rows
    ]
    return "## Goals\n\n" + markdown_table(header, lines, left=3)


def _work(rows: Sequence[GoalRow]) -> str:
    header = (
        "case",
        "blocks read",
        "rescored",
        "MB",
        "of bandwidth",
        "Gop",
        "of int8 peak",
        "native call, ms",
    )
    lines = [
        (
            row.title,
            f"{100 * row.use.scanned_share:.1f} %",
            f"{row.use.rescored:.0f}",
            f"{row.use.megabytes:.3g}",
            f"{row.use.bandwidth_share:.2f}",
            f"{row.use.giga_operations:.3g}",
            f"{row.use.int8_share:.2f}",
            "-" if row.native is None else f"{row.native.median_ms:.4g}",
        )
        for row in rows
    ]
    more = " The native call is the same search without the Python class around it, where that shows."
    return "### What a call does\n\n" + WORK + more + "\n\n" + markdown_table(header, lines, left=1)


def _peers(rows: Sequence[GoalRow]) -> str:
    notes = [f"* {row.title}: {row.peer_name}; {row.peer_note}" for row in rows if row.peer_note]
    return "### The peers' settings\n\n" + "\n".join(notes)


def _reached(row: GoalRow) -> str:
    if row.aimed:
        return "aim"
    return "yes" if row.reached else "no"
