# The pool keeps prompts with what the encoder says of them and with the items that obey.

from __future__ import annotations

import numpy as np
import pytest
import torch

from dpr_train.prompts import LabelledPrompt, Span
from dpr_train.stages.prompt_pool import PromptPool, obedient_items, stack_prompts

CARRIES = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 0]], dtype=bool)  # four items, three tags


def wishes(
    asked: tuple[int, ...] = (), refused: tuple[int, ...] = (), released: tuple[int, ...] = ()
) -> LabelledPrompt:
    spans = [Span(0, 1, tag, "ask") for tag in asked]
    spans += [Span(0, 1, tag, "refuse") for tag in refused]
    spans += [Span(0, 1, tag, "release") for tag in released]
    return LabelledPrompt("x", tuple(spans))


@pytest.mark.parametrize(
    ("prompt", "items"),
    [
        (wishes(), [0, 1, 2, 3]),
        (wishes(asked=(0,)), [0, 1]),
        (wishes(asked=(0, 1)), [1]),
        (wishes(asked=(0, 2)), []),
        (wishes(refused=(1,)), [0, 3]),
        (wishes(refused=(0, 1)), [3]),
        (wishes(asked=(1,), refused=(0,)), [2]),
        (wishes(asked=(1,), refused=(1,)), []),
        (wishes(released=(0, 1)), [0, 1, 2, 3]),
    ],
)
def test_items_that_obey(prompt: LabelledPrompt, items: list[int]) -> None:
    assert np.flatnonzero(obedient_items(prompt, CARRIES)).tolist() == items


def test_batches_are_found_by_number() -> None:
    encoded = [(torch.full((n, 2), float(n)), torch.full((1, 2), n / 10)) for n in (1, 2, 3, 4)]
    nothing = np.zeros((4, 1), dtype=bool)
    pool = PromptPool([wishes()] * 4, encoded, np.ones((4, 5), dtype=bool), nothing, nothing)
    assert len(pool) == 4
    for rows in ([2, 0], np.array([2, 0])):
        tokens, mask, wish = pool.batch(rows)
        assert tokens[:, :, 0].tolist() == [[3, 3, 3], [1, 0, 0]]
        assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
        assert mask.dtype == torch.int64
        torch.testing.assert_close(wish, torch.tensor([[[0.3, 0.3]], [[0.1, 0.1]]]))


def test_stacking_pads_with_what_the_mask_hides() -> None:
    tokens, mask, _ = stack_prompts(
        [(torch.ones(2, 3), torch.zeros(1, 2)), (torch.ones(5, 3), torch.zeros(1, 2))]
    )
    assert tokens.shape == (2, 5, 3)
    assert torch.equal(tokens[..., 0], mask.float())
