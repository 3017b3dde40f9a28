# The pool finds prompts by what they ask for and refuse.

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dpr_train.config import PromptEncoderConfig
from dpr_train.progress import silent
from dpr_train.prompt_encoder import build_prompt_encoder, load_tokenizer
from dpr_train.prompts import PromptGrammar, load_corpus
from dpr_train.stages.prompt_pool import PromptPool, stack_prompts

TAGS = ("comedy", "horror", "war")


def draw(encoder_folder: Path, size: int, tags: tuple[str, ...] = TAGS) -> PromptPool:
    encoder = build_prompt_encoder(PromptEncoderConfig(max_tokens=16, head_dim=8), encoder_folder)
    return PromptPool.draw(
        PromptGrammar(load_corpus(), tags),
        encoder,
        load_tokenizer(encoder_folder, 16),
        torch.randn(len(tags), encoder.token_dim),
        size,
        seed=0,
        progress=silent,
    )


@pytest.mark.parametrize("size", [1, 60])
def test_every_single_wish_and_none_are_there_however_small_the_pool(encoder_folder: Path, size: int) -> None:
    pool = draw(encoder_folder, size)
    assert pool.has(-1, -1)
    assert all(pool.has(tag, -1) and pool.has(-1, tag) for tag in range(3))
    assert all(pool.has(a, r) is (size == 60) for a in range(3) for r in range(3) if a != r)
    assert not pool.has(1, 1)


def test_a_pool_of_one_tag_has_no_pairs(encoder_folder: Path) -> None:
    pool = draw(encoder_folder, 30, ("comedy",))
    assert pool.has(0, -1)
    assert not pool.has(0, 0)


def test_pick_draws_among_the_prompts_of_a_wish() -> None:
    encoded = [(torch.full((length, 2), float(length)), torch.zeros(1, 2)) for length in (1, 2, 3, 4)]
    pool = PromptPool([(0, -1), (-1, 0), (0, -1), (0, -1)], encoded)
    rng = np.random.default_rng(0)
    assert {pool.pick(0, -1, rng) for _ in range(40)} == {0, 2, 3}
    tokens, mask, wish = pool.batch([2, 0])
    assert tokens[:, :, 0].tolist() == [[3, 3, 3], [1, 0, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert mask.dtype == torch.int64
    assert wish.shape == (2, 1, 2)


def test_stacking_pads_with_what_the_mask_hides() -> None:
    tokens, mask, _ = stack_prompts(
        [(torch.ones(2, 3), torch.zeros(1, 2)), (torch.ones(5, 3), torch.zeros(1, 2))]
    )
    assert tokens.shape == (2, 5, 3)
    assert torch.equal(tokens[..., 0], mask.float())
