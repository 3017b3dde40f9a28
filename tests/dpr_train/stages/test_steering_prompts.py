# Which prompts stage 3 trains on: each is obeyed by some item, and the pool says by which.

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from dpr_train.config import PromptEncoderConfig
from dpr_train.progress import silent
from dpr_train.prompt_encoder import build_prompt_encoder, load_tokenizer
from dpr_train.prompts import PromptGrammar, load_corpus
from dpr_train.stages.prompt_pool import PromptPool, obedient_items
from dpr_train.stages.steering_prompts import TextWishes, draw_pool, text_wishes

TAGS = ("comedy", "horror", "war", "western")
CARRIES = np.random.default_rng(0).random((30, 4)) < 0.4
PHRASES = ("submarines", "ancient Rome", "Venice in winter")


def draw(
    folder: Path,
    size: int,
    *,
    carries: np.ndarray = CARRIES,
    texts: TextWishes | None = None,
    text_share: float = 0.2,
    seed: int = 0,
) -> PromptPool:
    encoder = build_prompt_encoder(PromptEncoderConfig(max_tokens=32, layers=2, head_dim=8), folder)
    tags = TAGS[: carries.shape[1]]
    return draw_pool(
        PromptGrammar(load_corpus(), tags),
        texts,
        carries,
        encoder,
        load_tokenizer(folder, 32),
        torch.randn(len(tags), encoder.token_dim),
        size,
        text_share,
        seed=seed,
        progress=silent,
    )


def about(*items: list[int]) -> TextWishes:
    """Phrases about these items each."""
    matrix = np.zeros((len(CARRIES), len(items)), dtype=bool)
    for phrase, rows in enumerate(items):
        matrix[rows, phrase] = True
    return TextWishes(PromptGrammar(load_corpus(), PHRASES[: len(items)]), matrix)


def test_every_prompt_is_obeyed_by_the_items_that_it_says(encoder_folder: Path) -> None:
    pool = draw(encoder_folder, 250)
    assert len(pool) == len(pool.encoded) == 250
    for row, prompt in enumerate(pool.prompts):
        assert prompt.asked or prompt.refused
        assert np.flatnonzero(pool.asked[row]).tolist() == sorted(prompt.asked)
        assert np.flatnonzero(pool.refused[row]).tolist() == sorted(prompt.refused)
        np.testing.assert_array_equal(pool.allowed[row], obedient_items(prompt, CARRIES))
        tokens, wish = pool.encoded[row]
        assert (tokens.ndim, wish.shape) == (2, (4, 2))
    assert pool.allowed.any(1).all()
    kinds = {(len(p.asked), len(p.refused)) for p in pool.prompts}
    assert kinds >= {(1, 0), (0, 1), (1, 1), (2, 0), (0, 2), (1, 2), (2, 1)}


def test_one_seed_one_pool(encoder_folder: Path) -> None:
    texts = [[p.text for p in draw(encoder_folder, 40, seed=seed).prompts] for seed in (3, 3, 4)]
    assert texts[0] == texts[1] != texts[2]


def test_wishes_that_no_item_can_obey_are_left_out(encoder_folder: Path) -> None:
    carries = np.zeros((6, 3), dtype=bool)
    carries[:, 0] = True  # everything is a comedy: refusing it, or asking for another tag, leaves nothing
    pool = draw(encoder_folder, 60, carries=carries)
    assert pool.allowed.any(1).all()
    assert not pool.refused[:, 0].any()
    assert not pool.asked[:, 1:].any()


def test_a_catalogue_of_one_tag(encoder_folder: Path) -> None:
    pool = draw(encoder_folder, 40, carries=np.array([[True], [False]]))
    assert {(p.asked, p.refused) for p in pool.prompts} == {((0,), ()), ((), (0,))}


def test_some_prompts_are_about_texts(encoder_folder: Path) -> None:
    texts = about([1, 2], [5], [])  # the last phrase is about no item
    pool = draw(encoder_folder, 100, texts=texts, text_share=0.3)
    assert len(pool) == 100
    assert (pool.asked | pool.refused)[:70].any(1).all()
    assert not (pool.asked | pool.refused)[70:].any()  # a wish about texts is none about tags
    for row in range(70, 100):
        prompt = pool.prompts[row]
        assert {*prompt.asked, *prompt.refused} <= {0, 1}
        np.testing.assert_array_equal(pool.allowed[row], obedient_items(prompt, texts.about))
    refused = sum(bool(p.refused) for p in pool.prompts[70:])
    assert 1 <= refused <= 20


@pytest.mark.parametrize("texts", [None, about([], [])])
def test_without_phrases_all_prompts_are_about_tags(encoder_folder: Path, texts: TextWishes | None) -> None:
    pool = draw(encoder_folder, 30, texts=texts, text_share=0.5)
    assert len(pool) == 30
    assert (pool.asked | pool.refused).any(1).all()


def test_a_phrase_is_about_the_nearest_texts_that_are_near_enough() -> None:
    generator = torch.Generator().manual_seed(0)
    phrases = torch.eye(8)[:2]
    near = normalize(phrases[0] + 0.3 * torch.randn(50, 8, generator=generator), dim=-1)
    far = normalize(torch.cat([torch.zeros(40, 2), torch.randn(40, 6, generator=generator)], 1), dim=-1)
    texts = torch.cat([near, far])
    found = text_wishes(PromptGrammar(load_corpus(), PHRASES[:2]), phrases, texts).about
    assert found.shape == (90, 2)
    likeness = (texts @ phrases[0]).numpy()
    assert np.flatnonzero(found[:, 0]).tolist() == sorted(np.argsort(-likeness)[:20].tolist())
    second = (texts @ phrases[1]).numpy()
    assert (second[found[:, 1]] >= 0.25).all()
    assert found[:, 1].sum() == min(20, (second >= 0.25).sum())
    assert text_wishes(PromptGrammar(load_corpus(), PHRASES[:2]), phrases, texts[:3]).about[:, 0].all()
