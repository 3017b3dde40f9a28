# SASRec with pre-norm blocks. Positions are counted from the end of the history, so padding is never needed.
"""Self-attentive sequential recommendation (Kang & McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpr_train.backbones.base import Backbone

__all__ = ["SASRec"]


class _Block(nn.Module):
    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.attention_norm = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, dim)
        self.feed_norm = nn.LayerNorm(dim)
        self.feed = nn.Sequential(
            nn.Linear(dim, 4 * dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(4 * dim, dim),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor, mask: Tensor, *, last_only: bool = False) -> Tensor:
        """(B, L, d) -> (B, L, d), or (B, 1, d) of the last position; mask bool (B, 1, L, L), true where allowed."""
        normed = self.attention_norm(x)
        if last_only:  # nothing reads the other positions of the last block: half of the work saved
            x, mask = x[:, -1:], mask[:, :, -1:]
            query = self.query(normed[:, -1:])
        else:
            query = self.query(normed)
        key, value = self.key_value(normed).chunk(2, dim=-1)
        attended = F.scaled_dot_product_attention(
            self._split(query),
            self._split(key),
            self._split(value),
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
        )
        x = x + F.dropout(self.out(attended.transpose(1, 2).flatten(2)), self.dropout, self.training)
        return x + self.feed(self.feed_norm(x))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, H, L, d / H)


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
    """

    def __init__(
        self, n_items: int, dim: int, max_history: int, *, blocks: int, heads: int, dropout: float
    ) -> None:
        super().__init__(n_items, dim, max_history)
        self.position = nn.Parameter(torch.randn(max_history, dim) * 0.02)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(_Block(dim, heads, dropout) for _ in range(blocks))
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
