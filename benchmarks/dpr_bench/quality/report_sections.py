# Everything below the main tables. A section that was not measured is left out.
"""Sections on understanding, neutral and strict prompts, texts, turns, strength and cold items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dpr_bench.kernel_tables import markdown_table

__all__ = ["sections_markdown"]

Document = dict[str, Any]


def sections_markdown(document: Document) -> list[str]:
    """One string a section that was measured.

    Parameters
    ----------
    document : dict
        As :meth:`QualityResults.document` gives it.
    """
    writers: dict[str, Callable[[Any], str]] = {
        "weights": _weights,
        "understanding": _understanding,
        "neutral": _neutral,
        "strict": _strict,
        "text_wishes": _texts,
        "turns": _turns,
        "strength": _strength,
        "cold": _cold,
        "language_model": _language,
    }
    return [write(document[name]) for name, write in writers.items() if document.get(name)]


def _weights(weights: Sequence[Document]) -> str:
    lines = [
        (str(one["seed"]), system, *(f"{one[key][task]:g}" for task in ("positive", "negative", "compound")))
        for one in weights
        for system, key in (("true-tag boost", "boost"), ("additive text steering", "additive"))
        if {"positive", "negative", "compound"} <= one[key].keys()
    ]
    header = ("seed", "system", "positive", "negative", "compound")
    return "## Weights chosen on validation\n\n" + markdown_table(header, lines, left=2)


def _understanding(found: Document) -> str:
    header = ("prompts", "number", "polarity", "wishes right", "all wishes right", "exactly", "understood")
    lines = [_shares("single and compound", found["all"]), _shares("single", found["single"])]
    lines += [_shares(kind.replace("_", " "), row) for kind, row in found["by_kind"].items()]
    lines += [_shares(f"wording: {name}", row) for name, row in found["by_wording"].items()]
    zero = found["zero_shot"]
    lines += [_shares("zero-shot, all", zero["all"]), _shares("zero-shot, never named", zero["never_named"])]
    lines += [_shares(f"zero-shot, {name}", row) for name, row in zero["by_domain"].items()]
    wrong = found["false_positives"]
    text = (
        "Wishes as the runtime reads them, without any item. Every template of the frozen wording is used "
        "equally often, with known words "
        "unless said. *Polarity*: of the wishes read at all, those with the right polarity; *wishes "
        "right*: of all wishes, those read with their polarity; "
        "*all wishes right*: prompts whose every wish was; *exactly*: and no other tag; *understood*: "
        "something was read. Zero-shot: "
        "12 tags of another catalogue at a time, single wishes; *never named*: the training wording holds "
        "neither the tag nor a noun of that name."
    )
    false = (
        f"A wish was read off {_pc(wrong['neutral'])} of the neutral prompts, and off "
        f"{_pc(wrong['release'])} of the prompts that take a tag back "
        "(training templates; the test wording has none)."
    )
    return "\n\n".join(
        [
            "## Understanding, unseen families",
            text,
            markdown_table(header, lines, left=1),
            false,
            "### The worst families of idioms, single wishes",
            _families(found["worst_families"]),
            "### By tag, single wishes",
            _tags(found["tags"]),
        ]
    )


def _shares(name: str, row: Document) -> tuple[str, ...]:
    keys = ("polarity", "wishes_right", "right", "exact", "understood")
    return (name, f"{row['prompts']:,}", *(_figure(row[key]) for key in keys))


def _families(rows: Sequence[Document]) -> str:
    lines = [
        (
            row["kind"],
            row["family"],
            _figure(row["polarity"]),
            str(row["reversed"]),
            str(row["unread"]),
            str(row["wishes"]),
        )
        for row in rows
    ]
    return markdown_table(("kind", "family", "polarity", "reversed", "unread", "wishes"), lines, left=2)


def _tags(rows: Sequence[Document]) -> str:
    lines = [
        (
            row["tag"],
            str(row["wishes"]),
            _figure(row["polarity_ask"]),
            _figure(row["polarity_refuse"]),
            _figure(row["right"]),
        )
        for row in rows
    ]
    return markdown_table(("tag", "wishes", "polarity, asked", "polarity, refused", "right"), lines, left=1)


def _neutral(found: Document) -> str:
    worst = "".join(f"\n* {_figure(row['overlap'])}: {row['prompt']}" for row in found["worst"])
    return (
        "## Neutral prompts\n\n"
        f"{found['prompts']:.0f} test prompts that ask for nothing, {found['users']:.0f} users: "
        f"{_pc(found['overlap'])} of the plain top 10 stays, "
        f"{_pc(found['same'])} of the lists are the same in order too, and in {_pc(found['silent'])} of the "
        "queries every gate is exactly 0."
        + ("\n\nThe least overlap (first seed):\n" + worst if worst else "")
    )


def _strict(found: Document) -> str:
    rows = [
        ("strict: violation@10", found["violation"]),
        ("strict: violation@10 where every refusal was read", found["violation_understood"]),
        ("soft: violation@10", found["violation_soft"]),
        ("no prompt: violation@10", found["violation_plain"]),
        ("prompts understood", found["understood"]),
        ("prompts whose refusals were all read", found["refusals_read"]),
        ("lists of fewer than ten items", found["short"]),
    ]
    return (
        "## Strict steering\n\n"
        f"All test templates that refuse something ({found['prompts']:.0f} prompts), put to users who have "
        "the habit that is refused.\n\n"
        + markdown_table(("", "share"), [(name, _figure(value)) for name, value in rows], left=1)
    )


def _texts(found: Document) -> str:
    summary = found["summary"]
    columns = (
        ("asks: precision@10", "asks_precision"),
        ("asks: NDCG@10", "asks_ndcg"),
        ("refusals: violation@10", "refusals_violation"),
        ("refusals: violation@10, exposed users", "refusals_violation_exposed"),
    )
    systems = list(summary["asks_precision"] or summary["refusals_violation"])
    lines = [(name, *(_mean_interval(summary[key].get(name)) for _, key in columns)) for name in systems]
    text = (
        f"{summary['asks']} asks and {summary['refusals']} refusals that no tag can express; "
        f"{summary['left_out']} wishes with fewer than five relevant items are "
        "left out. An item is relevant if its title or text holds the words (and it has the genre, where "
        "the wish names one): a proxy, which cannot see what a "
        "text does not say. Means over wishes, each weighing the same, with intervals over wishes. "
        "Precision and violation: 200 random users; NDCG: users whose "
        "target is relevant; exposed users: their plain top 10 holds such an item."
    )
    return (
        "## Wishes about texts\n\n"
        + text
        + "\n\n"
        + markdown_table(("system", *(name for name, _ in columns)), lines, left=1)
    )


def _turns(found: Document) -> str:
    ways = list(found["right"])
    kinds = ["all", *found["sizes"]]
    sizes = {"all": found["conversations"], **found["sizes"]}
    lines = [
        (kind, f"{sizes[kind]:.0f}", *(_figure(found["right"][way][kind]) for way in ways)) for kind in kinds
    ]
    return (
        "## Conversations\n\n"
        f"Share of {found['conversations']:.0f} conversations after which exactly the wishes of the label "
        "stand.\n\n" + markdown_table(("kind", "number", *ways), lines, left=1)
    )


def _strength(found: Document) -> str:
    names = list(found)
    header = ("strength", *(f"{name}: {figure}" for name in names for figure in ("NDCG@10", "obedience")))
    lines = [
        (
            f"{points[0]['strength']:g}",
            *(_figure(point[figure], 4) for point in points for figure in ("ndcg", "obedience")),
        )
        for points in zip(*(found[name] for name in names), strict=True)
    ]
    return (
        "## Strength\n\nUnseen families. Obedience: precision@10 of the tag asked for, or 1 - "
        "violation@10.\n\n" + markdown_table(header, lines, left=0)
    )


def _cold(found: Document) -> str:
    text = (
        f"{found['cold']:.0f} items, none of them among the most popular fifth, lose their learned "
        "collaborative vector; a ridge regression on the side vectors, fitted on "
        "all other items, guesses one. Histories are read as before, and the other vectors were learned "
        "with those items in the data: this simulates new "
        f"items in the ranking, not a training without them. HR@10 of the {found['users']:.0f} test users "
        "whose target is such an item; the prompt asks for the "
        "target's rarest tag, in training wording."
    )
    systems = list(next(iter(found["hr"].values()), {}))
    lines = [(name, *(_figure(found["hr"][kind][name], 4) for kind in found["hr"])) for name in systems]
    return "## Cold items\n\n" + text + "\n\n" + markdown_table(("system", *found["hr"]), lines, left=1)


def _language(found: Document) -> str:
    header = ("system", "NDCG@10", "HR@10", "precision", "violation")
    tables = []
    for task, one in found["tasks"].items():
        lines = [
            (name, *(_figure(row[key], 4) for key in ("ndcg", "hr", "precision", "violation")))
            for name, row in one["systems"].items()
        ]
        title = f"### {task.capitalize()}: a sample of {one['queries']:.0f} queries, unseen families, masked"
        tables.append(title + "\n\n" + markdown_table(header, lines, left=1))
    text = (
        f"It orders the backbone's top {found['shown']:.0f} by title; all rows are of the same sampled queries, "
        "not of the whole test."
    )
    return "\n\n".join(["## A small language model as re-ranker", text, *tables])


def _mean_interval(found: Document | None) -> str:
    if found is None:
        return "-"
    return f"{found['mean']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def _figure(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _pc(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
