# SASRec with pre-norm blocks. Positions are counted from the end of the history, so padding is never needed.
"""Self-attentive sequential recommendation (Kang & McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dpr_train.backbones.base import Backbone
from dpr_train.backbones.dropout import make_dropout
from dpr_train.backbones.transformer import TransformerBlock

__all__ = ["SASRec"]


class SASRec(Backbone):
    """Causal self-attention over the history.

    Parameters
    ----------
    n_items, dim, max_history
        As in :class:`Backbone`.
    blocks, heads : int
        Transformer blocks, attention heads.
    dropout : float
        In [0, 1).
    relative_bias : bool
        Learn, for each head and block, how much a distance in the history counts.
    quick_dropout : bool
        See :mod:`dpr_train.backbones.dropout`.
    """

    def __init__(
        self,
        n_items: int,
        dim: int,
        max_history: int,
        *,
        blocks: int,
        heads: int,
        dropout: float,
        relative_bias: bool = False,
        quick_dropout: bool = False,
    ) -> None:
        super().__init__(n_items, dim, max_history)
        self.position = nn.Parameter(torch.randn(max_history, dim) * 0.02)
        self.dropout = make_dropout(dropout, quick=quick_dropout)
        reach = max_history if relative_bias else 0
        self.blocks = nn.ModuleList(
            TransformerBlock(dim, heads, dropout, bias_reach=reach, quick_dropout=quick_dropout)
            for _ in range(blocks)
        )
        self.norm = nn.LayerNorm(dim)

    def _embed(self, items: Tensor) -> tuple[Tensor, Tensor]:
        length = items.shape[1]
        real = items != 0  # (B, L)
        # The start token carries no position: its state is the same wherever padding ends.
        position = self.position[self.max_history - length :] * real[..., None]
        x = self.dropout(self.item_embedding(items) * self.dim**0.5 + position)
        at = torch.arange(length, device=items.device)
        causal = at[:, None] >= at[None, :]
        # A padded query may see itself alone: the softmax stays finite, and a history of no items has a state.
        itself = at[:, None] == at[None, :]
        mask = (causal & real[:, None, :]) | itself
        return x, mask[:, None]

    def states(self, items: Tensor) -> Tensor:
        """See :meth:`Backbone.states`."""
        x, mask = self._embed(items)
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x)

    def forward(self, items: Tensor) -> Tensor:
        """See :meth:`Backbone.forward`."""
        x, mask = self._embed(items)
        for block in self.blocks[:-1]:
            x = block(x, mask)
        return self.norm(self.blocks[-1](x, mask, last_only=True))[:, 0]
