# Tables in Markdown, and how a time with its spread is written.
"""Write Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dpr_bench.kernel_timing import Summary

__all__ = ["markdown_table", "spread"]


def markdown_table(header: Sequence[str], lines: Iterable[Sequence[str]], *, left: int) -> str:
    """Write a table.

    Parameters
    ----------
    header : sequence of str
        Names of the columns.
    lines : iterable of sequence of str
        Cells, as many a line as there are columns.
    left : int
        How many columns, from the first, are aligned to the left; the others are to the right.

    Returns
    -------
    str
        Markdown without a newline at its end.

    Raises
    ------
    ValueError
        If a line has more or fewer cells than the header.
    """
    rule = ["---"] * left + ["---:"] * (len(header) - left)
    table = [list(header), rule]
    for cells in lines:
        if len(cells) != len(header):
            raise ValueError(f"a line must have {len(header)} cells; got {len(cells)}: {list(cells)}")
        table.append(list(cells))
    return "\n".join("| " + " | ".join(cells) + " |" for cells in table)


def spread(times: Summary) -> str:
    """A median in milliseconds with its 10th and 90th percentile.

    Parameters
    ----------
    times : Summary
        Of one contender.

    Returns
    -------
    str
        Such as ``0.53 [0.51, 0.6]``.
    """
    return f"{times.median_ms:.4g} [{times.p10_ms:.4g}, {times.p90_ms:.4g}]"
