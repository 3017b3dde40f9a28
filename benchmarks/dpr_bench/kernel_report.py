# The kernel's results as one Markdown page.
"""Write the kernel's results for readers."""

from __future__ import annotations

from collections.abc import Sequence

from dpr_bench.kernel_curves import CurvePoint
from dpr_bench.kernel_goal_tables import WORK, goals_markdown
from dpr_bench.kernel_grid import GridRow
from dpr_bench.kernel_levels import LevelRow
from dpr_bench.kernel_results import KernelResults
from dpr_bench.kernel_tables import markdown_table, spread

__all__ = ["kernel_markdown"]

_HEAD = (
    "Milliseconds a call: the median, with the 10th and the 90th percentile in brackets. One thread everywhere but "
    "where said. In a round every contender answers the same queries once, in turning order. Before anything is timed, "
    "every answer of ours is compared, rows and scores, bit for bit, with the canonical float32 scan, and that with "
    "the scalar scores of every item for four queries of each kind. The ratio is the peer's median over ours (above 1: "
    "we are faster); for penalties and filters it is our median with them over that without (lower is better)."
)


def kernel_markdown(results: KernelResults, plots: Sequence[str] = ()) -> str:
    """Tell everything on one page.

    Parameters
    ----------
    results : KernelResults
        What was measured.
    plots : sequence of str
        File names of pictures beside the page.

    Returns
    -------
    str
        Markdown.
    """
    sections = [_opening(results)]
    if results.goals:
        sections.append(goals_markdown(results.goals))
    sections += [f"![{name.removesuffix('.png').replace('_', ' ')}]({name})" for name in plots]
    if results.grid:
        sections += ["## Exact peers", *_grid(results.grid)]
    if results.curves:
        sections += ["## Approximate peers", *_curves(results.curves)]
    if results.levels:
        sections += ["## Levels and threads", _levels(results.levels)]
    if results.skipped:
        sections += ["## Left out", "\n".join(f"* {s.case}: {s.contender}; {s.why}" for s in results.skipped)]
    return "\n\n".join(sections) + "\n"


def _opening(results: KernelResults) -> str:
    machine, ceilings = results.machine, results.ceilings
    versions = ", ".join(
        f"{name} {machine[name]}"
        for name in ("onnxruntime", "numpy", "torch", "faiss-cpu", "hnswlib", "usearch", "scann")
        if name in machine
    )
    met = len(results.goals) - len(results.missed)
    outcome = f"{met} of {len(results.goals)} goals reached; " if results.goals else ""
    return "\n\n".join(
        [
            "# The kernel",
            f"Made by `{results.command}` in {results.minutes:.1f} minutes. {machine['cpu']}, "
            f"{machine['cores']} cores, SIMD level {machine['simd_level']}, commit {machine['commit']}; {versions}.",
            f"**{outcome}{results.mismatches} mismatches.**",
            _HEAD,
            f"Ceilings of one core: {ceilings.read_gb_s:.1f} GB/s read ({ceilings.read_how}), "
            f"{ceilings.int8_tops:.2f} int8 Tops/s ({ceilings.int8_how}).",
        ]
    )


def _grid(rows: Sequence[GridRow]) -> list[str]:
    """A table for each catalogue: one line a batch size and k, one column a contender."""
    tables = []
    for case in dict.fromkeys(row.case for row in rows):
        mine = [row for row in rows if row.case == case]
        names = list(dict.fromkeys(row.contender for row in mine if row.contender != "dpr-infer"))
        header = (
            "B",
            "k",
            "ours",
            *names,
            "ratio",
            "blocks read",
            "of bandwidth",
            "of int8 peak",
            "mismatches",
        )
        lines = [
            _grid_line([row for row in mine if (row.batch, row.k) == cell], names) for cell in _cells(mine)
        ]
        first = mine[0]
        title = f"### {first.n_items:,} items, {first.data}, D = {first.dim}"
        tables.append(title + "\n\n" + markdown_table(header, lines, left=0))
    note = "Medians; spreads, recall and agreement of order are in the JSON. The ratio is that of the fastest peer."
    return [note + " " + WORK, *tables]


def _cells(rows: Sequence[GridRow]) -> list[tuple[int, int]]:
    return list(dict.fromkeys((row.batch, row.k) for row in rows))


def _grid_line(cell: Sequence[GridRow], names: Sequence[str]) -> tuple[str, ...]:
    ours = next(row for row in cell if row.contender == "dpr-infer")
    peers = {row.contender: row for row in cell if row is not ours}
    ratios = [row.ratio_to_ours for row in peers.values()]
    use = ours.use
    if use is None:
        raise ValueError(f"our row must say what a call does; {ours.case} does not")
    return (
        str(ours.batch),
        str(ours.k),
        spread(ours.times),
        *(f"{peers[name].times.median_ms:.4g}" if name in peers else "-" for name in names),
        f"**{min(ratios):.2f}**" if ratios else "-",
        f"{100 * use.scanned_share:.1f} %",
        f"{use.bandwidth_share:.2f}",
        f"{use.int8_share:.2f}",
        f"{ours.mismatches} of {ours.checked}",
    )


def _curves(points: Sequence[CurvePoint]) -> list[str]:
    tables = []
    for key in dict.fromkeys((point.case, point.batch, point.k) for point in points):
        mine = [point for point in points if (point.case, point.batch, point.k) == key]
        first = mine[0]
        title = (
            f"### {first.n_items:,} items, {first.data}, D = {first.dim}, B = {first.batch}, k = {first.k}"
        )
        lines = [
            (
                point.library,
                point.effort,
                f"{point.recall:.4f}",
                spread(point.times),
                f"{point.queries_per_s:,.0f}",
                f"{point.build_s:.0f}",
                "-" if point.index_bytes is None else f"{point.index_bytes / 1e6:.0f}",
                point.setup,
            )
            for point in mine
        ]
        header = ("library", "effort", "recall", "ms", "queries/s", "build, s", "index, MB", "built as")
        tables.append(title + "\n\n" + markdown_table(header, lines, left=2))
    return ["Indexes are built on all cores and searched on one thread.", *tables]


def _levels(rows: Sequence[LevelRow]) -> str:
    header = ("case", "items", "B", "level", "threads", "ms", "ratio", "mismatches")
    lines = [
        (
            row.case,
            f"{row.n_items:,}",
            str(row.batch),
            row.level,
            str(row.threads),
            spread(row.times),
            f"{row.ratio:.2f}",
            f"{row.mismatches} of {row.checked}",
        )
        for row in rows
    ]
    return "k = 10. The ratio is to the highest level on one thread.\n\n" + markdown_table(
        header, lines, left=1
    )
