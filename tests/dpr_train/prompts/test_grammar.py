# Prompts with labels: what a prompt says it means must follow from its text.

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from dpr_train.prompts import (
    Corpus,
    LabelledPrompt,
    PromptGrammar,
    Role,
    Span,
    TagWords,
    Template,
    load_corpus,
)
from dpr_train.prompts.corpus import Annotated
from dpr_train.prompts.grammar import _dress, _join

TAGS = ("Comedy", "Horror", "Sci-Fi", "Children's", "Beekeeping")  # the last one is not in any corpus


@pytest.fixture(scope="module", params=["corpus", "validation", "test"])
def grammar(request: pytest.FixtureRequest) -> PromptGrammar:
    return PromptGrammar(load_corpus(request.param), TAGS)


def check_spans(grammar: PromptGrammar, prompt: LabelledPrompt) -> None:
    """Every span holds a word of its tag, or the whole of a clause that means it."""
    for span in prompt.spans:
        words = grammar.words[span.tag]
        said = prompt.text[span.start : span.end].casefold()
        if span.named:
            assert said in {word.casefold() for word in (*words.nouns, *words.adjectives)}, prompt
        else:
            meant = {"ask": words.meanings, "refuse": words.meanings_refuse}[span.role]
            assert any(m.casefold().startswith(said) for m in meant), prompt


def test_every_template_marks_the_words_that_it_was_filled_with(grammar: PromptGrammar) -> None:
    rng = np.random.default_rng(0)
    slots: dict[str, tuple[int, Role]] = {
        "yes": (0, "ask"),
        "yes2": (1, "ask"),
        "no": (2, "refuse"),
        "no2": (3, "refuse"),
    }
    for kind, templates in grammar.templates.items():
        for template in templates:
            if kind in ("ask", "refuse", "release"):
                slots["tag"] = (1, kind)
            prompt = grammar.fill(rng, template, slots)
            check_spans(grammar, prompt)
            assert [(s.tag, s.role) for s in prompt.spans] == [slots[name] for name in template.slots]
            assert all(span.named for span in prompt.spans)
            for span, (_, adjective) in zip(prompt.spans, template.forms, strict=True):
                words = grammar.words[span.tag]
                assert prompt.text[span.start : span.end] in (words.adjectives if adjective else words.nouns)
            assert "{" not in prompt.text
            rest = prompt.text
            for span in reversed(prompt.spans):
                rest = rest[: span.start] + "{}" + rest[span.end :]
            assert rest == re.sub(r"\{\w+\}", "{}", template.text)


def test_tags_by_role_in_the_order_of_the_text() -> None:
    spans = (
        Span(0, 1, 4, "ask"),
        Span(2, 3, 2, "refuse"),
        Span(4, 5, 1, "ask"),
        Span(6, 7, 4, "ask"),
        Span(8, 9, 0, "release"),
        Span(10, 11, -1, "refuse"),  # about no tag
    )
    prompt = LabelledPrompt("a b c d e f", spans)
    assert (prompt.asked, prompt.refused, prompt.released) == ((4, 1), (2,), (0,))


def test_single_wishes(grammar: PromptGrammar) -> None:
    rng = np.random.default_rng(1)
    for tag in range(len(TAGS)):
        for refuse in (False, True):
            for _ in range(20):
                prompt = grammar.single(rng, tag, refuse=refuse)
                assert (prompt.asked, prompt.refused) == (((), (tag,)) if refuse else ((tag,), ()))
                check_spans(grammar, prompt)


def test_adjectives_are_used_where_a_tag_has_some_and_only_there() -> None:
    grammar = PromptGrammar(load_corpus(), TAGS)
    rng = np.random.default_rng(2)
    adjectives = [0, 0]
    for place, tag in enumerate((1, 4)):
        for _ in range(150):
            prompt = grammar.single(rng, tag, refuse=True)
            (*_, span) = prompt.spans
            adjectives[place] += prompt.text[span.start : span.end] in grammar.words[tag].adjectives
    assert adjectives[0] >= 10
    assert adjectives[1] == 0
    for _ in range(100):  # one wish of two can fill an adjective's slot
        check_spans(grammar, grammar.compound(rng, [1], [4]))
        check_spans(grammar, grammar.compound(rng, [4], [1]))


def test_meanings_name_no_tag_and_fall_back_to_templates(grammar: PromptGrammar) -> None:
    rng = np.random.default_rng(2)
    for refuse in (False, True):
        meant = grammar.single(rng, 1, refuse=refuse, meaning=1.0)
        words = grammar.words[1]
        assert meant.text in (words.meanings_refuse if refuse else words.meanings)
        assert meant.spans == (Span(0, len(meant.text), 1, "refuse" if refuse else "ask", named=False),)
        # An unknown tag has no meanings.
        assert all(span.named for span in grammar.single(rng, 4, refuse=refuse, meaning=1.0).spans)


def test_a_released_tag_is_neither_asked_for_nor_refused() -> None:
    grammar = PromptGrammar(load_corpus(), TAGS)
    rng = np.random.default_rng(3)
    for tag in range(len(TAGS)):
        prompt = grammar.release(rng, tag)
        assert (prompt.asked, prompt.refused, prompt.released) == ((), (), (tag,))
        check_spans(grammar, prompt)


@pytest.mark.parametrize(
    ("asked", "refused"),
    [
        ((0,), (1,)),
        ((0, 1), ()),
        ((), (0, 1)),
        ((0,), (1, 2)),
        ((0, 4), (1,)),
        ((0, 4), (2, 3)),
        ((0, 1, 2), (4,)),
    ],
)
def test_compounds_carry_exactly_their_wishes(
    grammar: PromptGrammar, asked: tuple[int, ...], refused: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(5)
    for meaning in (0.0, 0.5):
        for _ in range(30):
            prompt = grammar.compound(rng, asked, refused, meaning=meaning)
            assert (sorted(prompt.asked), sorted(prompt.refused)) == (sorted(asked), sorted(refused))
            assert prompt.released == ()
            check_spans(grammar, prompt)


def test_joining_swallows_the_end_of_a_clause_but_no_word() -> None:
    clauses = [
        LabelledPrompt("war films!", (Span(0, 9, 0, "ask"),), "bare"),
        LabelledPrompt("no rain?", (Span(3, 7, 1, "refuse"),), "no"),
    ]
    joined = _join(np.random.default_rng(0), clauses, joiners=(" but ",))
    spans = (Span(0, 9, 0, "ask"), Span(17, 21, 1, "refuse"))
    assert joined == LabelledPrompt("war films but no rain?", spans, "bare + no")
    # A clause that means its tag as a whole loses its full stop, and the span with it.
    whole = [LabelledPrompt("make me laugh.", (Span(0, 14, 0, "ask", named=False),), "meaning"), clauses[1]]
    (span, _) = _join(np.random.default_rng(0), whole, joiners=(" and ",)).spans
    assert span == Span(0, 13, 0, "ask", named=False)


def test_neutral_prompts_mean_nothing(grammar: PromptGrammar) -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        assert grammar.neutral(rng).spans == ()


def test_drawn_prompts_are_varied_and_their_spans_lie_inside() -> None:
    grammar = PromptGrammar(load_corpus(), load_corpus().domains["genres"])
    rng = np.random.default_rng(4)
    drawn = [grammar.draw(rng) for _ in range(1500)]
    spelled = marked = 0
    for prompt in drawn:
        assert prompt.text.strip()
        for span in prompt.spans:
            assert 0 <= span.start < span.end
            assert prompt.text[span.start : span.end].strip()
            if span.named and "annotated" not in prompt.family:
                words = grammar.words[span.tag]
                marked += 1
                # Two letters may have been swapped, so nearly all and not all spell their tag.
                spelled += prompt.text[span.start : span.end].casefold() in {
                    word.casefold() for word in (*words.nouns, *words.adjectives)
                }
    assert spelled / marked > 0.9
    kinds = {(len(p.asked), len(p.refused)) for p in drawn}
    assert kinds >= {(0, 0), (1, 0), (0, 1), (1, 1), (2, 0), (0, 2), (1, 2), (2, 1), (2, 2)}
    shares = [
        sum(bool(p.released) for p in drawn) / len(drawn),
        sum(p.family == "annotated" for p in drawn) / len(drawn),
        sum(not p.spans for p in drawn) / len(drawn),
    ]
    assert all(0.04 < share < 0.3 for share in shares), shares


def test_one_seed_one_prompt_and_a_catalogue_of_one_tag() -> None:
    grammar = PromptGrammar(load_corpus(), ["Western"])
    texts = [
        [grammar.draw(rng) for _ in range(40)] for rng in (np.random.default_rng(9), np.random.default_rng(9))
    ]
    assert texts[0] == texts[1]
    assert {span.tag for prompt in texts[0] for span in prompt.spans} == {0, -1}


def plain_corpus(**words: TagWords) -> Corpus:
    templates = {kind: (Template("{tag}", "bare"),) for kind in ("ask", "refuse", "release")}
    several = dict.fromkeys(("compound", "two_asks", "two_refusals", "three", "two_one", "four"), ())
    return Corpus(templates | several | {"neutral": (Template("hm", "hm"),)}, words, {})


def test_words_may_come_from_another_corpus() -> None:
    mine = plain_corpus(war=TagWords(("bagpipes",)))
    rng = np.random.default_rng(0)
    assert PromptGrammar(mine, ["War"]).single(rng, 0, refuse=False).text == "bagpipes"
    borrowed = PromptGrammar(mine, ["War"], words=plain_corpus(war=TagWords(("trumpets",))))
    assert borrowed.single(rng, 0, refuse=True) == LabelledPrompt(
        "trumpets", (Span(0, 8, 0, "refuse"),), "bare"
    )


def test_groups_are_drawn_by_their_shares_and_kept_together() -> None:
    grammar = PromptGrammar(
        plain_corpus(), [f"t{g}" for g in range(9)], groups={"a": (3.0, range(4)), "b": (1.0, range(4, 8))}
    )
    rng = np.random.default_rng(1)
    by_group = [0, 0]
    for _ in range(600):
        tags = {span.tag for span in grammar.draw(rng).spans}
        assert tags <= set(range(4)) or tags <= set(range(4, 8))  # tag 8 is in no group
        if tags:
            by_group[min(tags) // 4] += 1
    assert 2 < by_group[0] / by_group[1] < 4.5


def test_annotated_prompts_are_drawn_where_all_their_tags_are_known() -> None:
    annotated = (
        Annotated("tanks, not art", ((0, 5, "+", "War"), (11, 14, "-", "Art"))),
        Annotated("tanks in Venice", ((0, 5, "=", "war"), (9, 15, "-", ""))),
    )
    corpus = replace(plain_corpus(), annotated=annotated)
    rng = np.random.default_rng(0)
    drawn = [PromptGrammar(corpus, ["WAR"]).draw(rng) for _ in range(300)]
    found = {prompt.spans for prompt in drawn if prompt.family == "annotated"}
    assert found == {(Span(0, 5, 0, "release"), Span(9, 15, -1, "refuse"))}


def test_other_clothes_move_no_span() -> None:
    rng = np.random.default_rng(0)
    prompt = LabelledPrompt("No War Films, please.", (Span(3, 12, 0, "refuse"),), "no")
    texts = [_dress(rng, prompt) for _ in range(300)]
    assert {p.spans for p in texts} == {prompt.spans}
    assert {
        "No War Films, please.",
        "no war films, please.",
        "NO WAR FILMS, PLEASE.",
        "No War Films, please",
    } <= {p.text for p in texts}
    assert all(sorted(p.text.casefold().rstrip(".")) == sorted("no war films, please") for p in texts)
    turkish = LabelledPrompt("\u0130stanbul films", (Span(0, 14, 0, "ask"),))  # longer in lower case
    assert {len(_dress(rng, turkish).text) for _ in range(60)} == {len(turkish.text)}
