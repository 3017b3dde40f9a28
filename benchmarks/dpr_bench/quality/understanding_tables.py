# From records of single prompts to shares: by kind, by family of idiom, by tag.
"""Summarise how prompts were understood."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from dpr_bench.quality.frozen_wording import zero_shot
from dpr_bench.quality.subject import Subject
from dpr_bench.quality.understanding import (
    PromptRecord,
    WishRecord,
    draw_all,
    draw_meanings,
    read_records,
)
from dpr_train.evaluate import Wording
from dpr_train.prompts import PromptGrammar, load_corpus
from dpr_train.prompts.universe import make_universe

__all__ = [
    "by_family",
    "by_tag",
    "of_catalogue",
    "of_wordings",
    "of_zero_shot",
    "shares",
    "understanding_document",
    "worst_families",
]

_WORST = 10
_ZERO_SHOT = 2  # prompts of a template in each domain
_WISHES = ("ask", "refuse", "compound", "two_asks", "two_refusals", "three", "two_one", "four")


def of_catalogue(subject: Subject, grammar: PromptGrammar, trained: PromptGrammar) -> list[PromptRecord]:
    """Records of all test templates, and of the training templates that release a tag (the test has none).

    Parameters
    ----------
    subject : Subject
        Whose prompt encoder reads.
    grammar : PromptGrammar
        Test templates, with the catalogue's tags.
    trained : PromptGrammar
        Training templates, with the same tags.
    """
    drawn = draw_all(grammar, np.random.default_rng([subject.seed, 17]))
    drawn += draw_all(trained, np.random.default_rng([subject.seed, 18]), ["release"])
    return read_records(subject, drawn, grammar.tags, subject.model.tag_embeddings)


def of_wordings(subject: Subject, wordings: Sequence[Wording]) -> dict[str, list[PromptRecord]]:
    """By wording, records of single wishes and compounds; and of the sentences that mean a tag without naming it."""
    embeddings, names = subject.model.tag_embeddings, subject.model.config.tags
    records = {}
    for number, wording in enumerate(wordings):
        rng = np.random.default_rng([subject.seed, 20, number])
        drawn = draw_all(wording.grammar, rng, ["ask", "refuse", "compound"], most=1)
        records[wording.name] = read_records(subject, drawn, names, embeddings)
    meant = draw_meanings(wordings[-1].grammar)
    if meant:
        records["tag meant, not named"] = read_records(subject, meant, names, embeddings)
    return records


def of_zero_shot(subject: Subject) -> dict[str, list[PromptRecord]]:
    """Records of single wishes about tags of other catalogues, one domain's tags at a time."""
    records = {}
    for number, (domain, grammar) in enumerate(zero_shot().items()):
        rng = np.random.default_rng([subject.seed, 19, number])
        drawn = draw_all(grammar, rng, ["ask", "refuse"], most=_ZERO_SHOT)
        names = subject.model.prompt_encoder.embed_names(subject.tokenizer, grammar.tags)
        records[domain] = read_records(subject, drawn, grammar.tags, names)
    return records


def understanding_document(
    catalogue: Sequence[PromptRecord],
    other: dict[str, list[PromptRecord]],
    wordings: dict[str, list[PromptRecord]],
) -> dict[str, Any]:
    """Everything of this section, plain values for JSON; records of all seeds count alike.

    Parameters
    ----------
    catalogue : sequence of PromptRecord
        Of :func:`of_catalogue`.
    other : dict of str to list of PromptRecord
        Of :func:`of_zero_shot`.
    wordings : dict of str to list of PromptRecord
        Of :func:`of_wordings`.
    """
    wished = [r for r in catalogue if r.kind in _WISHES]
    singles = [r for r in wished if r.kind in ("ask", "refuse")]
    none = {kind: [r for r in catalogue if r.kind == kind] for kind in ("neutral", "release")}
    tags_known = _known_tags()
    zero = [r for records in other.values() for r in records]
    return {
        "all": shares(r for r in wished if r.kind in ("ask", "refuse", "compound")),
        "single": shares(singles),
        "by_kind": {kind: shares(r for r in wished if r.kind == kind) for kind in _WISHES},
        "understood": _share(r.understood for r in wished),
        "by_wording": {name: shares(records) for name, records in wordings.items()},
        "false_positives": {kind: _share(r.understood for r in records) for kind, records in none.items()},
        "zero_shot": {
            "all": shares(zero),
            "never_named": shares(r for r in zero if r.wishes[0].tag.casefold() not in tags_known),
            "named_in_training": sorted({r.wishes[0].tag for r in zero} & _spelled(zero, tags_known)),
            "by_domain": {domain: shares(records) for domain, records in other.items()},
        },
        "families": by_family(singles),
        "worst_families": worst_families(by_family(singles)),
        "tags": by_tag(singles),
    }


def shares(records: Iterable[PromptRecord]) -> dict[str, float]:
    """Figures of some prompts that wish something.

    Returns
    -------
    dict
        ``prompts``; ``polarity``: of the wishes read at all, those with the right polarity; ``wishes_right``: of all
        wishes, those read with it; ``right``: prompts with every wish right; ``exact``: and nothing else read;
        ``understood``: prompts of which something was read.
    """
    records = list(records)
    wishes = [wish for record in records for wish in record.wishes]
    return {
        "prompts": len(records),
        "polarity": _polarity(wishes),
        "wishes_right": _share(wish.state == "right" for wish in wishes),
        "right": _share(r.right for r in records),
        "exact": _share(r.exact for r in records),
        "understood": _share(r.understood for r in records),
    }


def by_family(records: Iterable[PromptRecord]) -> list[dict[str, Any]]:
    """Polarity by kind and family of idiom, the worst first; 1 where no wish was read."""
    groups: dict[tuple[str, str], list[WishRecord]] = defaultdict(list)
    for record in records:
        groups[record.kind, record.family] += record.wishes
    rows = [
        {
            "kind": kind,
            "family": family,
            "wishes": len(wishes),
            "unread": sum(wish.state == "unread" for wish in wishes),
            "reversed": sum(wish.state == "reversed" for wish in wishes),
            "polarity": _polarity(wishes, of_none=1.0),
        }
        for (kind, family), wishes in groups.items()
    ]
    return sorted(rows, key=lambda row: (row["polarity"], -row["reversed"], row["kind"], row["family"]))


def worst_families(families: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The ten of which most wishes were reversed; those without any are left out."""
    return [row for row in families if row["reversed"]][:_WORST]


def by_tag(records: Iterable[PromptRecord]) -> list[dict[str, Any]]:
    """For each tag the polarity of asks and refusals, and the share of its wishes that were right."""
    groups: dict[str, list[WishRecord]] = defaultdict(list)
    for record in records:
        for wish in record.wishes:
            groups[wish.tag].append(wish)
    return [
        {
            "tag": tag,
            "wishes": len(wishes),
            "polarity_ask": _polarity([w for w in wishes if not w.refused], of_none=1.0),
            "polarity_refuse": _polarity([w for w in wishes if w.refused], of_none=1.0),
            "right": _share(w.state == "right" for w in wishes),
        }
        for tag, wishes in sorted(groups.items())
    ]


def _polarity(wishes: Sequence[WishRecord], of_none: float = float("nan")) -> float:
    """Of the wishes read at all, those with the right polarity."""
    read = [wish for wish in wishes if wish.state != "unread"]
    return _share(wish.state == "right" for wish in read) if read else of_none


def _share(holds: Iterable[bool]) -> float:
    answers = list(holds)
    return sum(answers) / len(answers) if answers else float("nan")


def _known_tags() -> set[str]:
    """Names and nouns of the tags that stage 2 trains on, in lower case; those that it holds back are left out."""
    corpus = load_corpus()
    names = make_universe(corpus).tags
    return {word.casefold() for tag in names for word in (tag, *corpus.words_for(tag).nouns)}


def _spelled(records: Iterable[PromptRecord], known: set[str]) -> set[str]:
    return {r.wishes[0].tag for r in records if r.wishes[0].tag.casefold() in known}
