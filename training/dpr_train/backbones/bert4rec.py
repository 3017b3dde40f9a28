# BERT4Rec with the pre-norm blocks of SASRec. Token 0 is the mask: the item that is not known. To the left of a
# history it pads, hidden; a history without items is the mask alone, so its state is learned like every other one.
"""Bidirectional sequential recommendation.

Sun et al., "BERT4Rec: Sequential Recommendation with Bidirectional Encoder Representations from Transformer", CIKM
2019.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dpr_train.backbones.stack import TransformerBackbone

__all__ = ["BERT4Rec"]


class BERT4Rec(TransformerBackbone):
    """Self-attention in both directions over the history and a mask after it, whose state is the user vector.

    A state after an inner position would have to be blind to what follows, which takes a pass of its own: see
    :meth:`states`.

    Parameters
    ----------
    n_items, dim, max_history
        As in :class:`Backbone`; the mask comes on top of ``max_history`` items.
    **options : StackOptions
        Sizes.
    """

    objective = "masked"
    causal = False
    extra_tokens = 1

    def _read(self, tokens: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        x = self._embed(tokens, self._positions(tokens.shape[1]))
        at = torch.arange(tokens.shape[1], device=tokens.device)
        # What pads sees itself, so that its softmax stays finite; nothing reads it.
        return x, (seen[:, None, :] | (at[:, None] == at[None, :]))[:, None]

    def training_states(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """See :meth:`Backbone.training_states`; here a 0 among ``inputs`` is a mask where it has a target."""
        return self._all_states(*self._read(inputs, (inputs != 0) | (targets != 0)))

    def states(self, items: Tensor) -> Tensor:
        """See :meth:`Backbone.states`: exactly what :meth:`forward` says of every beginning, at a pass for each."""
        return torch.stack([self(items[:, :end]) for end in range(1, items.shape[1] + 1)], dim=1)

    def forward(self, items: Tensor) -> Tensor:
        """See :meth:`Backbone.forward`."""
        tokens = torch.cat([items, torch.zeros_like(items[:, :1])], dim=1)  # the mask at the end
        seen = torch.cat([items != 0, torch.ones_like(items[:, :1], dtype=torch.bool)], dim=1)
        return self._last_state(*self._read(tokens, seen))
