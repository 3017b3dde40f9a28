# What a backbone promises to the rest of the model. Nothing here knows about prompts.
"""The protocol between a sequential backbone and everything built on it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

__all__ = ["Backbone"]


class Backbone(nn.Module, ABC):
    """A model that turns a history into one vector, compared with item vectors by dot product.

    Tokens are int64: row + 1 of an item, and 0, which pads on the left and also stands for the start of a history.
    A history without any item is the single token 0, so the start state is learned like every other one.

    Parameters
    ----------
    n_items : int
        Size of the catalogue.
    dim : int
        Width dc of user and item vectors.
    max_history : int
        Most tokens a forward pass takes.

    Attributes
    ----------
    objective : {"next", "masked"}
        What it is trained on: every item from those before it, or hidden items from all the others.
    causal : bool
        Whether one pass gives the states of all positions; otherwise :meth:`states` takes a pass for each.
    """

    objective: ClassVar[Literal["next", "masked"]] = "next"
    causal: ClassVar[bool] = True

    def __init__(self, n_items: int, dim: int, max_history: int) -> None:
        super().__init__()
        self.n_items = n_items
        self.dim = dim
        self.max_history = max_history
        self.item_embedding = nn.Embedding(n_items + 1, dim)
        # Small, as in BERT: with std 1/sqrt(d) the validation NDCG@10 on ML-100K stays 10 % lower.
        nn.init.normal_(self.item_embedding.weight, std=0.02)

    @abstractmethod
    def states(self, items: Tensor) -> Tensor:
        """User vectors after every position: int64 (B, L) -> float32 (B, L, dc)."""

    @abstractmethod
    def forward(self, items: Tensor) -> Tensor:
        """User vector after the last position: int64 (B, L), left padded with 0 -> float32 (B, dc)."""

    def training_states(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """States that a batch of training windows is judged by: two int64 (B, L) -> (B, L, dc).

        Parameters
        ----------
        inputs, targets : Tensor
            Tokens, left padded; target 0 means that nothing is asked at that position.
        """
        return self.states(inputs)

    def item_vectors(self) -> Tensor:
        """Collaborative item vectors, float32 (N, dc), row = item number."""
        return self.item_embedding.weight[1:]

    def logits(self, states: Tensor) -> Tensor:
        """Scores of all items: float32 (..., dc) -> (..., N)."""
        return torch.matmul(states, self.item_vectors().T)
