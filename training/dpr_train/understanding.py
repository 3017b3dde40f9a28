# The head that reads wishes off a prompt's tokens. It compares tokens with embeddings of the tags' names, so it has no
# parameter that belongs to a tag, and works for any catalogue's tags.
"""Anchored understanding head: is a tag named, where, and is it asked for or refused."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["Understanding", "UnderstandingHead"]


@dataclass(frozen=True)
class Understanding:
    """What the head computed, before and after the squashing that training needs apart.

    Parameters
    ----------
    match : Tensor
        float32 (B, G, T), how much token t names tag g (a logit; padding holds a large negative number).
    presence : Tensor
        float32 (B, G), logit that the prompt has a wish about tag g.
    polarity : Tensor
        float32 (B, G), logit that the wish asks for g rather than refuses it.
    """

    match: Tensor
    presence: Tensor
    polarity: Tensor

    @property
    def wish(self) -> Tensor:
        """float32 (B, G, 2) in [0, 1]: how much each tag is asked for, and how much refused."""
        present = torch.sigmoid(self.presence)
        asked = torch.sigmoid(self.polarity)
        return torch.stack([present * asked, present * (1 - asked)], dim=-1)


class UnderstandingHead(nn.Module):
    """Per-token tag logits, an anchor where a tag is named, and attention from there to what decides its polarity.

    Parameters
    ----------
    token_dim : int
        Width p of tokens and of tag embeddings.
    dim : int
        Inner width, a multiple of 4.
    reach : int
        Relative positions beyond this distance share one bias.
    """

    _HEADS = 4
    _PADDING = -1e4  # far below any logit, and still finite in float16

    def __init__(self, token_dim: int, dim: int, reach: int) -> None:
        super().__init__()
        self.dim = dim
        self.reach = reach
        self.match_token = nn.Linear(token_dim, dim)
        self.match_tag = nn.Linear(token_dim, dim)
        self.match_bias = nn.Parameter(torch.tensor(-3.0))  # most tags are absent from most prompts
        self.anchor = nn.Linear(token_dim, dim)
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(token_dim, dim)
        self.value = nn.Linear(token_dim, dim)
        self.distance = nn.Parameter(torch.zeros(self._HEADS, 2 * reach + 1))
        self.polarity = nn.Sequential(nn.Linear(2 * dim, dim), nn.GELU(), nn.Linear(dim, 1))

    def forward(self, tokens: Tensor, attention_mask: Tensor, tag_embeddings: Tensor) -> Understanding:
        """Read the wishes of a batch of prompts.

        Parameters
        ----------
        tokens : Tensor
            float32 (B, T, p).
        attention_mask : Tensor
            int64 (B, T), 0 on padding.
        tag_embeddings : Tensor
            float32 (G, p).
        """
        padding = (attention_mask == 0)[:, None]  # (B, 1, T)
        match = torch.matmul(self.match_tag(tag_embeddings), self.match_token(tokens).transpose(1, 2))
        match = (match * self.dim**-0.5 + self.match_bias).masked_fill(padding, self._PADDING)  # (B, G, T)
        where = torch.softmax(match, dim=-1)
        presence = (where * match).sum(-1)  # (B, G), between the mean and the largest logit
        anchor = self.anchor(torch.matmul(where, tokens))  # (B, G, dim)
        context = self._look_around(anchor, where, tokens, padding)
        polarity = self.polarity(torch.cat([anchor, context], dim=-1))[..., 0]
        return Understanding(match, presence, polarity)

    def _look_around(self, anchor: Tensor, where: Tensor, tokens: Tensor, padding: Tensor) -> Tensor:
        """Attend from each tag's anchor over the tokens, biased by distance: (B, G, dim)."""
        query = self._split(self.query(anchor))  # (B, H, G, d / H)
        key, value = self._split(self.key(tokens)), self._split(self.value(tokens))  # (B, H, T, d / H)
        at = torch.arange(tokens.shape[1], device=tokens.device)
        offset = (at[None, :] - at[:, None]).clamp(-self.reach, self.reach) + self.reach  # (T, T)
        # An anchor is spread over tokens, so its bias is the expectation over where it stands.
        bias = torch.matmul(
            where[:, None], self.distance[:, offset]
        )  # (B, 1, G, T) x (H, T, T) -> (B, H, G, T)
        logits = torch.matmul(query, key.transpose(-1, -2)) * (self.dim // self._HEADS) ** -0.5 + bias
        attention = torch.softmax(logits.masked_fill(padding[:, None], self._PADDING), dim=-1)
        return torch.matmul(attention, value).transpose(1, 2).flatten(2)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self._HEADS, -1)).transpose(1, 2)
