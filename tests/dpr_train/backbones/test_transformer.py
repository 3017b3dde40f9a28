# The block's faster training path and its distance biases against attention written out.

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dpr_train.backbones.transformer import TransformerBlock

LENGTH, DIM, HEADS = 6, 8, 2


def block(*, reach: int = 0, quick: bool = False, dropout: float = 0.0) -> TransformerBlock:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = TransformerBlock(DIM, HEADS, dropout, bias_reach=reach, quick_dropout=quick)
        if made.bias is not None:
            made.bias.data.normal_()
        return made


def inputs() -> tuple[Tensor, Tensor]:
    at = torch.arange(LENGTH)
    mask = (at[:, None] >= at[None])[None, None].repeat(3, 1, 1, 1)
    mask[1, :, 2:, :2] = False
    return torch.randn(3, LENGTH, DIM, generator=torch.Generator().manual_seed(1)), mask


def expected(made: TransformerBlock, x: Tensor, mask: Tensor) -> Tensor:
    normed = made.attention_norm(x)
    key, value = made.key_value(normed).chunk(2, -1)
    out = torch.empty_like(x)
    width = DIM // HEADS
    for head in range(HEADS):
        part = slice(head * width, (head + 1) * width)
        scores = made.query(normed)[..., part] @ key[..., part].mT / width**0.5
        if made.bias is not None:
            for i in range(LENGTH):
                for j in range(i + 1):
                    scores[:, i, j] += made.bias[head, i - j]
        out[..., part] = scores.masked_fill(~mask[:, 0], float("-inf")).softmax(-1) @ value[..., part]
    x = x + made.out(out)
    return x + made.feed(made.feed_norm(x))


@pytest.mark.parametrize("reach", [0, LENGTH, LENGTH + 3])
@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("training", [False, True])
@torch.no_grad()
def test_all_paths_are_plain_attention(reach: int, quick: bool, training: bool) -> None:
    made = block(reach=reach, quick=quick).train(training)
    x, mask = inputs()
    torch.testing.assert_close(made(x, mask), expected(made, x, mask), rtol=0, atol=1e-5)


@pytest.mark.parametrize("reach", [0, LENGTH])
@torch.no_grad()
def test_the_last_position_alone_is_the_last_of_all(reach: int) -> None:
    made = block(reach=reach).eval()
    x, mask = inputs()
    torch.testing.assert_close(made(x, mask, last_only=True), made(x, mask)[:, -1:], rtol=0, atol=1e-6)


@pytest.mark.parametrize("quick", [False, True])
def test_biases_learn_on_both_paths(quick: bool) -> None:
    made = block(reach=LENGTH, quick=quick).train()
    made(*inputs()).square().sum().backward()
    assert made.bias is not None
    assert made.bias.grad is not None
    assert (made.bias.grad.abs().sum(0) > 0).all()


def test_the_quick_path_drops_weights_and_states() -> None:
    made = block(quick=True, dropout=0.5).train()
    x, mask = inputs()
    assert not torch.equal(made(x, mask), made(x, mask))
    assert torch.equal(made.eval()(x, mask), made(x, mask))


@pytest.mark.parametrize("quick", [False, True])
def test_bfloat16_is_close_on_both_paths(quick: bool) -> None:
    made = block(reach=LENGTH, quick=quick).train()
    x, mask = inputs()
    with torch.autocast("cpu", torch.bfloat16):
        low = made(x, mask)
    # Eight bits of a number of at most 4, through half a dozen products.
    torch.testing.assert_close(low.float(), made(x, mask), rtol=0, atol=0.15)
