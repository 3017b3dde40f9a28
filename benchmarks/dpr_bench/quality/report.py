# The results as one Markdown page: goals, how to read it, the main tables with every row, then the other sections.
"""Write the results of the quality benchmark for readers."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from dpr_bench.kernel_tables import markdown_table
from dpr_bench.quality.goals import GoalRow
from dpr_bench.quality.report_rows import main_tables, seeds_table, unmasked_tables
from dpr_bench.quality.report_sections import sections_markdown
from dpr_bench.quality.summary import find_row

__all__ = ["goals_markdown", "quality_markdown"]

Document = dict[str, Any]

_HOW = files("dpr_bench.quality") / "how_to_read.md"


def quality_markdown(document: Document, goals: Sequence[GoalRow], plots: Sequence[str] = ()) -> str:
    """Tell everything on one page.

    Parameters
    ----------
    document : dict
        As :meth:`QualityResults.document` gives it.
    goals : sequence of GoalRow
        Checked against it.
    plots : sequence of str
        File names of pictures beside the page.

    Returns
    -------
    str
        Markdown.
    """
    rows = document["rows"]
    seeds = seeds_table(rows)
    parts = [
        _opening(document),
        *main_tables(rows, "hard"),
        "## Goals\n\nTags chosen hard, masked, unless said.\n\n" + goals_markdown(goals),
        "## How to read the tables\n\n" + _HOW.read_text(encoding="utf-8").strip(),
        *(f"![{name.removesuffix('.png').replace('_', ' ')}]({name})" for name in plots),
        "## Tags chosen uniformly\n\nSystems that compare texts are left out here: they have no part in this question.",
        *main_tables(rows, "uniform"),
        *(["## Seed by seed\n\nNDCG@10, masked, tags chosen hard.\n\n" + seeds] if seeds else []),
        "## Unmasked",
        *unmasked_tables(rows),
        *sections_markdown(document),
        _provenance(document),
    ]
    return "\n\n".join(parts) + "\n"


def goals_markdown(goals: Sequence[GoalRow]) -> str:
    """The goals as a table."""
    header = ("goal", "must", "aim", "measured", "met")
    lines = [(g.goal, g.must, g.aim, g.measured, "**no**" if g.met == "no" else g.met) for g in goals]
    return markdown_table(header, lines, left=len(header))


def _opening(document: Document) -> str:
    data, machine = document["dataset"], document["machine"]
    seeds = ", ".join(map(str, document["seeds"]))
    text = (
        f"Made by `{document['command']}` in {document['minutes']:.1f} minutes. {data['users']:,} users, "
        f"{data['items']:,} items, {data['interactions']:,} interactions, {data['tags']} tags; "
        "test split (the last item of each user). "
        f"Seeds {seeds}. {machine['cpu']}, commit {machine['commit']}."
    )
    standard = find_row(document["rows"], "standard", "backbone")
    if standard and standard["queries"] < data["users"]:
        text += f" **A sample: {standard['queries']:,} of the users are tested.**"
    return f"# Quality, {data['name']}\n\n{text}"


def _provenance(document: Document) -> str:
    lines = [f"* data: sha256 {document['dataset']['sha256']}"]
    lines += [
        f"* checkpoint {c['name']}: seed {c['seed']}, weights sha256 {c['model_sha256']}, prompt encoder "
        f"{c['prompt_encoder_sha256']}"
        for c in document["checkpoints"]
    ]
    lines += [
        f"* test wording {name}: sha256 {digest}" for name, digest in document["wording_sha256"].items()
    ]
    machine = ", ".join(f"{name} {value}" for name, value in document["machine"].items())
    return "## Checksums and versions\n\n" + "\n".join([*lines, f"* {machine}"])
