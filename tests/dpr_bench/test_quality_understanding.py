# How reading is counted: polarity among what was read, wishes by prompt, families from the worst on.

from __future__ import annotations

import math

import numpy as np

from dpr_bench.quality.understanding import Drawn, PromptRecord, State, WishRecord, _record, draw_all
from dpr_bench.quality.understanding_tables import (
    _known_tags,
    by_family,
    by_tag,
    shares,
    worst_families,
)
from dpr_train.evaluate import make_wordings
from dpr_train.prompts import LabelledPrompt, Span, load_corpus
from dpr_train.prompts.universe import make_universe

GENRES = load_corpus().domains["genres"]


def record(family: str, *states: State, extra: int = 0, kind: str = "ask") -> PromptRecord:
    wishes = tuple(WishRecord("Horror", kind == "refuse", state) for state in states)
    return PromptRecord(kind, family, wishes, extra)


def test_shares() -> None:
    found = shares(
        [
            record("a", "right"),
            record("a", "reversed"),
            record("a", "unread"),
            record("a", "right", "unread", extra=1),
            record("a", "right", "right", extra=1),
        ]
    )
    assert found["prompts"] == 5
    assert found["polarity"] == 4 / 5  # of five wishes read, one was turned round
    assert found["wishes_right"] == 4 / 7
    assert found["right"] == 2 / 5
    assert found["exact"] == 1 / 5
    assert found["understood"] == 4 / 5
    assert math.isnan(shares([record("a", "unread")])["polarity"])


def test_families_from_the_worst_on() -> None:
    rows = by_family(
        [record("fine", "right")] * 3
        + [record("half", "right"), record("half", "reversed", kind="ask")]
        + [record("half", "reversed", kind="refuse"), record("silent", "unread")]
    )
    assert [(row["kind"], row["family"], row["polarity"]) for row in rows[:2]] == [
        ("refuse", "half", 0.0),
        ("ask", "half", 0.5),
    ]
    assert [row["family"] for row in worst_families(rows)] == ["half", "half"]
    assert rows[-1]["polarity"] == 1.0


def test_by_tag_keeps_asks_and_refusals_apart() -> None:
    (row,) = by_tag([record("a", "right"), record("a", "reversed", kind="refuse"), record("a", "unread")])
    assert (row["polarity_ask"], row["polarity_refuse"], row["right"]) == (1.0, 0.0, 1 / 3)


def test_a_prompt_is_compared_with_its_label() -> None:
    prompt = LabelledPrompt("x", (Span(0, 1, 0, "ask"), Span(0, 1, 1, "refuse"), Span(0, 1, 2, "ask")), "f")
    found = _record(Drawn("three", prompt), asked={0, 1, 4}, refused={5}, names="abcdef")
    assert [(wish.tag, wish.refused, wish.state) for wish in found.wishes] == [
        ("a", False, "right"),
        ("c", False, "unread"),
        ("b", True, "reversed"),
    ]
    assert found.extra == 2
    assert found.understood
    assert not found.right


def test_every_test_template_is_drawn_with_tags_of_its_own() -> None:
    grammar = make_wordings(GENRES)[1].grammar
    drawn = draw_all(grammar, np.random.default_rng(0))
    for kind, roles in (("ask", (1, 0)), ("refuse", (0, 1)), ("compound", (1, 1)), ("four", (2, 2))):
        mine = [one.prompt for one in drawn if one.kind == kind]
        assert {(len(p.asked), len(p.refused)) for p in mine} == {roles}
        assert {p.family for p in mine} == {t.family for t in grammar.templates[kind]}
    assert all(not set(one.prompt.asked) & set(one.prompt.refused) for one in drawn)


def test_a_tag_that_training_names_is_no_zero_shot_tag() -> None:
    known = _known_tags()
    universe = make_universe(load_corpus())
    assert {tag.casefold() for tag in universe.tags} <= known
    others = {tag.casefold() for held in universe.held_back.values() for tag in held}
    assert others - known  # held back: training does not see them
