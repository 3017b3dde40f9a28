# The block that SASRec and BERT4Rec share. What a position may see is the caller's mask.
"""A pre-norm transformer block, with learned biases of distances if asked."""

from __future__ import annotations

from typing import TypedDict, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpr_train.backbones.dropout import make_dropout, quick_dropout

__all__ = ["BlockOptions", "TransformerBlock"]


class BlockOptions(TypedDict, total=False):
    """What a block can be asked for besides its sizes.

    ``bias_reach`` is the number of distances that have a bias a head, 0 for none; ``quick_dropout`` draws with
    :class:`~dpr_train.backbones.dropout.QuickDropout`.
    """

    bias_reach: int
    quick_dropout: bool


class TransformerBlock(nn.Module):
    """Attention and a feed-forward network, each behind a layer norm and added to its input.

    Parameters
    ----------
    dim, heads : int
        Width and number of heads, which divides it.
    dropout : float
        On attention weights and on what is added, in [0, 1).
    **options : BlockOptions
        With ``bias_reach``, attention from a position to one ``n`` places before it is biased by ``bias[head, n]``
        (Shaw et al., "Self-Attention with Relative Position Representations", NAACL 2018; as scalars, Raffel et al.,
        JMLR 2020): for causal masks alone, later positions have no bias.
    """

    def __init__(self, dim: int, heads: int, dropout: float, **options: Unpack[BlockOptions]) -> None:
        super().__init__()
        self.heads = heads
        self.p = dropout
        self.quick = options.get("quick_dropout", False)
        self.attention_norm = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, dim)
        self.dropout = make_dropout(dropout, quick=self.quick)
        self.feed_norm = nn.LayerNorm(dim)
        self.feed = nn.Sequential(
            nn.Linear(dim, 4 * dim),
            nn.GELU(),
            make_dropout(dropout, quick=self.quick),
            nn.Linear(4 * dim, dim),
            make_dropout(dropout, quick=self.quick),
        )
        reach = options.get("bias_reach", 0)
        self.bias = nn.Parameter(torch.zeros(heads, reach)) if reach else None

    def forward(self, x: Tensor, mask: Tensor, *, last_only: bool = False) -> Tensor:
        """(B, L, d) -> (B, L, d), or (B, 1, d) of the last position; mask bool (B, 1, L, L), true where allowed."""
        length = x.shape[1]
        normed = self.attention_norm(x)
        at = torch.arange(length, device=x.device)
        if last_only:  # nothing reads the other positions of the last block: half of the work saved
            x, mask, at = x[:, -1:], mask[:, :, -1:], at[-1:]
            query = self.query(normed[:, -1:])
        else:
            query = self.query(normed)
        key, value = self.key_value(normed).chunk(2, dim=-1)
        attended = self._attend(self._split(query), self._split(key), self._split(value), mask, at)
        x = x + self.dropout(self.out(attended.transpose(1, 2).flatten(2)))
        return x + self.feed(self.feed_norm(x))

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, at: Tensor) -> Tensor:
        """Queries of the positions ``at``, (B, H, Q, d / H), over all keys -> (B, H, Q, d / H)."""
        bias = None if self.bias is None else self._bias(self.bias, at, key.shape[2])
        if self.training and self.quick:
            return self._attend_plainly(query, key, value, mask, bias)
        if bias is not None:
            # A mask that asks for a gradient keeps torch from its fused kernel, and the exporter from any.
            bias = bias.to(query.dtype) if self.training else bias.to(query.dtype).detach()
            mask = torch.where(mask, bias, float("-inf"))
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, dropout_p=self.p if self.training else 0.0
        )

    def _attend_plainly(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, bias: Tensor | None
    ) -> Tensor:
        # torch's own attention is slower on a CPU than its parts once there is dropout or a learned bias.
        scores = torch.matmul(query * query.shape[-1] ** -0.5, key.transpose(-1, -2))  # (B, H, Q, L)
        if bias is not None:
            scores = scores + bias.to(scores.dtype)
        weights = scores.masked_fill(~mask, float("-inf")).softmax(-1, dtype=scores.dtype)
        return torch.matmul(quick_dropout(weights, self.p), value)

    @staticmethod
    def _bias(bias: Tensor, at: Tensor, length: int) -> Tensor:
        distance = (at[:, None] - torch.arange(length, device=at.device)[None]).clamp(min=0)
        return bias[:, distance]  # (H, Q, L)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, H, L, d / H)
