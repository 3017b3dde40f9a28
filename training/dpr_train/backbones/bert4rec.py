# BERT4Rec with the pre-norm blocks of SASRec. Token 0 is the mask: the item that is not known. To the left of a
# history it pads, hidden; a history without items is the mask alone, so its state is learned like every other one.
"""Bidirectional sequential recommendation.

Sun et al., "BERT4Rec: Sequential Recommendation with Bidirectional Encoder Representations from Transformer", CIKM
2019.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dpr_train.backbones.base import Backbone
from dpr_train.backbones.dropout import make_dropout
from dpr_train.backbones.transformer import TransformerBlock

__all__ = ["BERT4Rec"]


class BERT4Rec(Backbone):
    """Self-attention in both directions over the history and a mask after it, whose state is the user vector.

    A state after an inner position would have to be blind to what follows, which takes a pass of its own: see
    :meth:`states`.

    Parameters
    ----------
    n_items, dim, max_history
        As in :class:`Backbone`; the mask comes on top of ``max_history`` items.
    blocks, heads : int
        Transformer blocks, attention heads.
    dropout : float
        In [0, 1).
    quick_dropout : bool
        See :mod:`dpr_train.backbones.dropout`.
    """

    objective = "masked"
    causal = False

    def __init__(
        self,
        n_items: int,
        dim: int,
        max_history: int,
        *,
        blocks: int,
        heads: int,
        dropout: float,
        quick_dropout: bool = False,
    ) -> None:
        super().__init__(n_items, dim, max_history)
        self.position = nn.Parameter(torch.randn(max_history + 1, dim) * 0.02)
        self.dropout = make_dropout(dropout, quick=quick_dropout)
        self.blocks = nn.ModuleList(
            TransformerBlock(dim, heads, dropout, quick_dropout=quick_dropout) for _ in range(blocks)
        )
        self.norm = nn.LayerNorm(dim)

    def _embed(self, tokens: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        position = self.position[self.max_history + 1 - tokens.shape[1] :]
        x = self.dropout(self.item_embedding(tokens) * self.dim**0.5 + position)
        at = torch.arange(tokens.shape[1], device=tokens.device)
        # What pads sees itself, so that its softmax stays finite; nothing reads it.
        return x, (seen[:, None, :] | (at[:, None] == at[None, :]))[:, None]

    def training_states(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """See :meth:`Backbone.training_states`; here a 0 among ``inputs`` is a mask where it has a target."""
        x, mask = self._embed(inputs, (inputs != 0) | (targets != 0))
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x)

    def states(self, items: Tensor) -> Tensor:
        """See :meth:`Backbone.states`: exactly what :meth:`forward` says of every beginning, at a pass for each."""
        return torch.stack([self(items[:, :end]) for end in range(1, items.shape[1] + 1)], dim=1)

    def forward(self, items: Tensor) -> Tensor:
        """See :meth:`Backbone.forward`."""
        tokens = torch.cat([items, torch.zeros_like(items[:, :1])], dim=1)  # the mask at the end
        seen = torch.cat([items != 0, torch.ones_like(items[:, :1], dtype=torch.bool)], dim=1)
        x, mask = self._embed(tokens, seen)
        for block in self.blocks[:-1]:
            x = block(x, mask)
        return self.norm(self.blocks[-1](x, mask, last_only=True))[:, 0]
