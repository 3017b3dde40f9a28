# What SASRec and BERT4Rec share: a stack of blocks over items and positions. What a position may see is theirs.
"""The common base of the backbones made of transformer blocks."""

from __future__ import annotations

from typing import ClassVar, NotRequired, TypedDict, Unpack

import torch
from torch import Tensor, nn

from dpr_train.backbones.base import Backbone
from dpr_train.backbones.dropout import make_dropout
from dpr_train.backbones.transformer import TransformerBlock

__all__ = ["StackOptions", "TransformerBackbone"]


class StackOptions(TypedDict):
    """Sizes of a stack: transformer blocks, attention heads, dropout in [0, 1).

    ``quick_dropout``: see :mod:`dpr_train.backbones.dropout`.
    """

    blocks: int
    heads: int
    dropout: float
    quick_dropout: NotRequired[bool]


class TransformerBackbone(Backbone):
    """Items with positions, counted from the end of the history; blocks; a last layer norm.

    Parameters
    ----------
    n_items, dim, max_history
        As in :class:`Backbone`.
    bias_reach : int
        As in :class:`~dpr_train.backbones.transformer.BlockOptions`.
    **options : StackOptions
        Sizes.

    Attributes
    ----------
    extra_tokens : int
        What a pass takes on top of ``max_history`` items.
    """

    extra_tokens: ClassVar[int] = 0

    def __init__(
        self,
        n_items: int,
        dim: int,
        max_history: int,
        *,
        bias_reach: int = 0,
        **options: Unpack[StackOptions],
    ) -> None:
        super().__init__(n_items, dim, max_history)
        dropout, quick = options["dropout"], options.get("quick_dropout", False)
        self.position = nn.Parameter(torch.randn(max_history + self.extra_tokens, dim) * 0.02)
        self.dropout = make_dropout(dropout, quick=quick)
        self.blocks = nn.ModuleList(
            TransformerBlock(dim, options["heads"], dropout, bias_reach=bias_reach, quick_dropout=quick)
            for _ in range(options["blocks"])
        )
        self.norm = nn.LayerNorm(dim)

    def _positions(self, length: int) -> Tensor:
        """Embeddings of the last ``length`` places, (L, d)."""
        return self.position[self.max_history + self.extra_tokens - length :]

    def _embed(self, tokens: Tensor, position: Tensor) -> Tensor:
        """What the first block reads, (B, L, d): tokens int64 (B, L), position (L, d) or (B, L, d)."""
        return self.dropout(self.item_embedding(tokens) * self.dim**0.5 + position)

    def _all_states(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, L, d) -> (B, L, d); mask bool (B, 1, L, L), true where allowed."""
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x)

    def _last_state(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, L, d) -> (B, d) of the last position, without the other positions of the last block."""
        for block in self.blocks[:-1]:
            x = block(x, mask)
        return self.norm(self.blocks[-1](x, mask, last_only=True))[:, 0]
