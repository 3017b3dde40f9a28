# How understanding is measured, on a stand-in encoder whose answers are known.

from __future__ import annotations

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor

from dpr_train.evaluate.understood import Understood, draw_prompts, understand_all, understanding_metrics
from dpr_train.prompts import Corpus, LabelledPrompt, PromptGrammar, Span, TagWords, Template

TAGS = ("alpha", "beta", "gamma")


class Encoder:
    """Reads "no WORD" as a refusal and any other WORD as a wish; of "gamma" it always believes the opposite."""

    def eval(self) -> None: ...

    def embed_names(self, tokenizer: Tokenizer, names: tuple[str, ...]) -> Tensor:
        return torch.zeros(len(names), 1)

    def __call__(self, ids: Tensor, mask: Tensor, tag_embeddings: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        wish = torch.zeros(len(ids), len(tag_embeddings), 2)
        for row, line in enumerate(ids.tolist()):
            for before, token in zip([0, *line], line, strict=False):
                if token >= 2:
                    wish[row, token - 2, int((before == 1) != (token == 4))] = 0.5
        return torch.zeros(*ids.shape, 1), wish, torch.zeros(len(ids), len(tag_embeddings))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    made = Tokenizer(models.WordLevel({"[UNK]": 0, "no": 1, "alpha": 2, "beta": 3, "gamma": 4}, "[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made


def grammar(tags: tuple[str, ...], neutral: str = "hi") -> PromptGrammar:
    texts = {"ask": "{tag} please", "refuse": "no {tag}", "compound": "{yes} but no {no}", "neutral": neutral}
    templates = {kind: (Template(text, kind),) for kind, text in texts.items()}
    return PromptGrammar(Corpus(templates, {tag: TagWords((tag,)) for tag in TAGS}, {}), tags)


def measure(tokenizer: Tokenizer, made: PromptGrammar) -> dict[str, float]:
    return understanding_metrics(Encoder(), tokenizer, made, np.random.default_rng(0), prompts=40)


def wishes(asked: tuple[int, ...], refused: tuple[int, ...]) -> LabelledPrompt:
    spans = [Span(0, 1, tag, "ask") for tag in asked] + [Span(0, 1, tag, "refuse") for tag in refused]
    return LabelledPrompt("", (*spans, Span(0, 1, 9, "release")))


@pytest.mark.parametrize(
    ("asked", "refused", "right", "wishes_right", "turned"),
    [
        ({0}, {1}, True, True, False),
        ({0}, set(), False, False, False),  # one wish missed
        ({0, 2}, {1}, False, True, False),  # one too many
        ({1}, {0}, False, False, True),  # the wrong way round
        ({0}, {0, 1}, False, True, True),  # of two minds
    ],
)
def test_right_means_exactly_its_wishes(
    asked: set[int], refused: set[int], right: bool, wishes_right: bool, turned: bool
) -> None:
    read = Understood(wishes((0,), (1,)), frozenset(asked), frozenset(refused))
    assert (read.right, read.wishes_right, read.reversed) == (right, wishes_right, turned)


def test_prompts_are_read_in_order(tokenizer: Tokenizer) -> None:
    prompts = [
        LabelledPrompt(text) for text in ("no beta but alpha please", "hi", "no alpha", "gamma", "beta")
    ]
    read = understand_all(Encoder(), tokenizer, TAGS, prompts, batch_size=2)
    assert [u.prompt for u in read] == prompts
    assert [(set(u.asked), set(u.refused)) for u in read] == [
        ({0}, {1}),
        (set(), set()),
        (set(), {0}),
        (set(), {2}),
        ({1}, set()),
    ]


def test_what_is_drawn() -> None:
    drawn = draw_prompts(grammar(TAGS), np.random.default_rng(0), 30)
    assert {kind: len(prompts) for kind, prompts in drawn.items()} == dict.fromkeys(
        ("ask", "refuse", "compound", "neutral"), 30
    )
    shapes = {kind: {(len(p.asked), len(p.refused)) for p in prompts} for kind, prompts in drawn.items()}
    assert shapes == {"ask": {(1, 0)}, "refuse": {(0, 1)}, "compound": {(1, 1)}, "neutral": {(0, 0)}}
    assert draw_prompts(grammar(("alpha",)), np.random.default_rng(0), 30)["compound"] == []


def test_all_is_understood_where_the_encoder_is_right(tokenizer: Tokenizer) -> None:
    assert measure(tokenizer, grammar(TAGS[:2])) == {
        "ask": 1, "refuse": 1, "compound": 1, "neutral": 1, "polarity": 1, "reversed": 0
    }  # fmt: skip
    assert "compound" not in measure(tokenizer, grammar(("alpha",)))


def test_a_tag_that_is_always_turned_round(tokenizer: Tokenizer) -> None:
    found = measure(tokenizer, grammar(TAGS))
    rng = np.random.default_rng(0)
    drawn = draw_prompts(grammar(TAGS), rng, 40)
    about = {kind: [2 in (*p.asked, *p.refused) for p in prompts] for kind, prompts in drawn.items()}
    for kind in ("ask", "refuse", "compound"):
        assert found[kind] == pytest.approx(1 - np.mean(about[kind]))
    turned = sum(map(sum, about.values()))
    assert found["reversed"] == pytest.approx(turned / 120)  # neutral prompts have no wish to be turned
    assert found["polarity"] == pytest.approx(1 - turned / 160)


def test_a_neutral_prompt_that_is_taken_for_a_wish(tokenizer: Tokenizer) -> None:
    found = measure(tokenizer, grammar(TAGS[:2], neutral="alpha or whatever"))
    assert (found["neutral"], found["polarity"]) == (0, 1)
