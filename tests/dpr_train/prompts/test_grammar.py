# Prompts with labels: what a prompt says it means must follow from its text.

from __future__ import annotations

import re

import numpy as np
import pytest

from dpr_train.prompts import Corpus, LabelledPrompt, PromptGrammar, TagWords, Template, load_corpus
from dpr_train.prompts.grammar import _join

TAGS = ("Comedy", "Horror", "Sci-Fi", "Children's", "Beekeeping")  # the last one is not in any corpus


@pytest.fixture(scope="module", params=["corpus", "heldout"])
def grammar(request: pytest.FixtureRequest) -> PromptGrammar:
    return PromptGrammar(load_corpus(request.param), TAGS)


def check_spans(grammar: PromptGrammar, prompt: LabelledPrompt) -> None:
    for start, end, tag in prompt.spans:
        nouns = {noun.casefold() for noun in grammar.words[tag].nouns}
        assert prompt.text[start:end].casefold() in nouns, prompt
        assert tag in (*prompt.asked, *prompt.refused), prompt


def test_every_template_marks_the_words_that_it_was_filled_with(grammar: PromptGrammar) -> None:
    rng = np.random.default_rng(0)
    slots = {"tag": (4, False), "yes": (0, False), "yes2": (1, False), "no": (2, True), "no2": (3, True)}
    for templates in grammar.templates.values():
        for template in templates:
            used = {name: slots[name] for name in template.slots}
            prompt = grammar._fill(rng, template, used)
            check_spans(grammar, prompt)
            assert [tag for _, _, tag in prompt.spans] == [slots[name][0] for name in template.slots]
            assert set(prompt.asked) == {tag for tag, refused in used.values() if not refused}
            assert set(prompt.refused) == {tag for tag, refused in used.values() if refused}
            assert "{" not in prompt.text
            rest = prompt.text
            for start, end, _ in reversed(prompt.spans):
                rest = rest[:start] + "{}" + rest[end:]
            assert rest == re.sub(r"\{\w+\}", "{}", template.text)


def test_single_wishes(grammar: PromptGrammar) -> None:
    rng = np.random.default_rng(1)
    for tag in range(len(TAGS)):
        for refuse in (False, True):
            prompt = grammar.single(rng, tag, refuse=refuse)
            assert (prompt.asked, prompt.refused) == (((), (tag,)) if refuse else ((tag,), ()))
            assert prompt.spans
            check_spans(grammar, prompt)


def test_meanings_name_no_tag_and_fall_back_to_templates(grammar: PromptGrammar) -> None:
    rng = np.random.default_rng(2)
    for refuse in (False, True):
        meant = grammar.single(rng, 1, refuse=refuse, meaning=1.0)
        words = grammar.words[1]
        assert meant.text in (words.meanings_refuse if refuse else words.meanings)
        assert meant.spans == ()
        assert (1 in meant.refused) is refuse
        assert grammar.single(rng, 4, refuse=refuse, meaning=1.0).spans  # no meanings for an unknown tag


@pytest.mark.parametrize(("asked", "refused"), [((0,), (1,)), ((0, 1), ()), ((), (0, 1)), ((0,), (1, 2))])
def test_compounds_carry_exactly_their_wishes(
    grammar: PromptGrammar, asked: tuple[int, ...], refused: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(5)
    for _ in range(40):
        prompt = grammar.compound(rng, asked, refused)
        assert (sorted(prompt.asked), sorted(prompt.refused)) == (sorted(asked), sorted(refused))
        assert {tag for _, _, tag in prompt.spans} == {*asked, *refused}
        check_spans(grammar, prompt)


def test_joined_clauses_keep_their_spans(grammar: PromptGrammar) -> None:
    rng = np.random.default_rng(6)
    for _ in range(100):
        prompt = grammar.compound(rng, [0, 4], [2, 3])  # no template is made for four wishes
        assert (sorted(prompt.asked), sorted(prompt.refused)) == ([0, 4], [2, 3])
        check_spans(grammar, prompt)


def test_joining_swallows_the_end_of_a_clause_but_no_word() -> None:
    clauses = [
        LabelledPrompt("war films!", (0,), (), ((0, 9, 0),)),
        LabelledPrompt("no rain?", (), (1,), ((3, 7, 1),)),
    ]
    joined = _join(np.random.default_rng(0), clauses, joiners=(" but ",))
    assert joined == LabelledPrompt("war films but no rain?", (0,), (1,), ((0, 9, 0), (17, 21, 1)))


def test_neutral_prompts_mean_nothing(grammar: PromptGrammar) -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        prompt = grammar.neutral(rng)
        assert (prompt.asked, prompt.refused, prompt.spans) == ((), (), ())


def test_drawn_prompts_are_varied_and_their_spans_lie_inside() -> None:
    grammar = PromptGrammar(load_corpus(), TAGS)
    rng = np.random.default_rng(4)
    drawn = [grammar.draw(rng) for _ in range(600)]
    spelled = marked = 0
    for prompt in drawn:
        assert prompt.text.strip()
        for start, end, tag in prompt.spans:
            assert 0 <= start < end <= len(prompt.text)
            marked += 1
            # Two letters may have been swapped, so nearly all and not all spell their tag.
            spelled += prompt.text[start:end].casefold() in {n.casefold() for n in grammar.words[tag].nouns}
    assert spelled / marked > 0.9
    kinds = {(len(set(p.asked)), len(set(p.refused))) for p in drawn}
    assert kinds >= {(0, 0), (1, 0), (0, 1), (1, 1), (2, 0), (0, 2), (1, 2), (2, 1), (2, 2)}


def test_one_seed_one_prompt_and_a_catalogue_of_one_tag() -> None:
    grammar = PromptGrammar(load_corpus(), ["Western"])
    texts = [
        [grammar.draw(rng) for _ in range(40)] for rng in (np.random.default_rng(9), np.random.default_rng(9))
    ]
    assert texts[0] == texts[1]
    assert {tag for prompt in texts[0] for tag in (*prompt.asked, *prompt.refused)} == {0}


def test_words_may_come_from_another_corpus() -> None:
    plain = (Template("{tag}", "bare"),)
    mine = Corpus({"ask": plain, "refuse": plain, "neutral": ()}, {"war": TagWords(("bagpipes",))})
    rng = np.random.default_rng(0)
    assert PromptGrammar(mine, ["War"]).single(rng, 0, refuse=False).text == "bagpipes"
    borrowed = PromptGrammar(mine, ["War"], words=Corpus({}, {"war": TagWords(("trumpets",))}))
    assert borrowed.single(rng, 0, refuse=True) == LabelledPrompt("trumpets", (), (0,), ((0, 8, 0),))
