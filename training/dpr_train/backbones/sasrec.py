# SASRec with pre-norm blocks. Positions are counted from the end of the history, so padding is never needed.
"""Self-attentive sequential recommendation (Kang & McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018)."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor

from dpr_train.backbones.stack import StackOptions, TransformerBackbone

__all__ = ["SASRec"]


class SASRec(TransformerBackbone):
    """Causal self-attention over the history.

    Parameters
    ----------
    n_items, dim, max_history
        As in :class:`Backbone`.
    relative_bias : bool
        Learn, for each head and block, how much a distance in the history counts.
    **options : StackOptions
        Sizes.
    """

    def __init__(
        self,
        n_items: int,
        dim: int,
        max_history: int,
        *,
        relative_bias: bool = False,
        **options: Unpack[StackOptions],
    ) -> None:
        reach = max_history if relative_bias else 0
        super().__init__(n_items, dim, max_history, bias_reach=reach, **options)

    def _read(self, items: Tensor) -> tuple[Tensor, Tensor]:
        length = items.shape[1]
        real = items != 0  # (B, L)
        # The start token carries no position: its state is the same wherever padding ends.
        x = self._embed(items, self._positions(length) * real[..., None])
        at = torch.arange(length, device=items.device)
        causal = at[:, None] >= at[None, :]
        # A padded query may see itself alone: the softmax stays finite, and a history of no items has a state.
        itself = at[:, None] == at[None, :]
        mask = (causal & real[:, None, :]) | itself
        return x, mask[:, None]

    def states(self, items: Tensor) -> Tensor:
        """See :meth:`Backbone.states`."""
        return self._all_states(*self._read(items))

    def forward(self, items: Tensor) -> Tensor:
        """See :meth:`Backbone.forward`."""
        return self._last_state(*self._read(items))
