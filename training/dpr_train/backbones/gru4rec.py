# GRU4Rec. The recurrence runs over a right-padded copy, so that padding never touches the hidden state.
"""Recurrent sequential recommendation.

Hidasi et al., "Session-based Recommendations with Recurrent Neural Networks", ICLR 2016.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dpr_train.backbones.base import Backbone

__all__ = ["GRU4Rec"]


class GRU4Rec(Backbone):
    """A gated recurrent unit over the history, which always begins with the start token.

    Parameters
    ----------
    n_items, dim, max_history
        As in :class:`Backbone`.
    hidden : int
        Width of the recurrent state.
    dropout : float
        On embeddings and states, in [0, 1).
    """

    def __init__(self, n_items: int, dim: int, max_history: int, *, hidden: int, dropout: float) -> None:
        super().__init__(n_items, dim, max_history)
        self.dropout = nn.Dropout(dropout)
        self.gru = nn.GRU(dim, hidden, batch_first=True)
        self.out = nn.Linear(hidden, dim)

    def _run(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Left padded (B, L) -> inner states (B, L + 1, H) of [start, items..., padding], each row's padding (B, 1)."""
        length = items.shape[1]
        padding = (items == 0).sum(1, keepdim=True)  # (B, 1)
        at = torch.arange(length, device=items.device)[None]
        source = at + padding
        shifted = torch.gather(items, 1, source.clamp(max=length - 1)) * (source < length)
        started = torch.cat([torch.zeros_like(shifted[:, :1]), shifted], dim=1)
        hidden, _ = self.gru(self.dropout(self.item_embedding(started) * self.dim**0.5))
        return hidden, padding

    def states(self, items: Tensor) -> Tensor:
        """See :meth:`Backbone.states`; a padded position has the state of the start token."""
        hidden, padding = self._run(items)
        states = self.out(self.dropout(hidden))
        at = torch.arange(1, items.shape[1] + 1, device=items.device)[None]
        index = (at - padding).clamp(min=0)[..., None].expand(-1, -1, self.dim)
        return torch.gather(states, 1, index)

    def forward(self, items: Tensor) -> Tensor:
        """See :meth:`Backbone.forward`."""
        hidden, padding = self._run(items)
        index = (items.shape[1] - padding)[..., None].expand(-1, -1, hidden.shape[2])
        return self.out(self.dropout(torch.gather(hidden, 1, index)[:, 0]))
