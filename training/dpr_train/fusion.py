# Fusion and the mixture of experts: from a user and a prompt's wishes to directions in item space, and gates.
# No parameter belongs to a tag: G is free.
"""Fusion of user and prompt, and the experts that steer retrieval."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["FusionMoE"]

_ROLE_COLUMN = {"toward": 0, "away": 1}  # of wish's last axis


class FusionMoE(nn.Module):
    """The user's state attends over the prompt's tokens; each expert then turns both, and the wishes, into a vector.

    Parameters
    ----------
    user_dim : int
        dc.
    token_dim : int
        p.
    side_dim : int
        dw.
    dim, heads : int
        Width and heads of the fusion attention.
    roles : sequence of str
        ``"toward"`` or ``"away"``, one an expert.
    threshold : float
        A wish below it is no wish: it neither opens a gate nor moves a vector.

    References
    ----------
    "Give Users the Wheel: Towards Promptable Recommendation Paradigm", arXiv 2602.18929: Fusion by attention
    between user state and prompt, experts apart for positive and negative steering.
    """

    def __init__(
        self,
        *,
        user_dim: int,
        token_dim: int,
        side_dim: int,
        dim: int,
        heads: int,
        roles: Sequence[str],
        threshold: float,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.threshold = threshold
        self.roles = tuple(roles)
        self.query = nn.Linear(user_dim, dim)
        self.key_value = nn.Linear(token_dim, 2 * dim)
        self.norm = nn.LayerNorm(user_dim + dim)
        self.experts = nn.ModuleList(_Expert(user_dim, dim, side_dim) for _ in roles)
        self.router = nn.Linear(user_dim + dim, len(roles))

    def forward(
        self, user: Tensor, tokens: Tensor, attention_mask: Tensor, wish: Tensor, tag_vectors: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Experts' vectors and gates of a batch.

        Parameters
        ----------
        user : Tensor
            float32 (B, dc).
        tokens : Tensor
            float32 (B, T, p).
        attention_mask : Tensor
            int64 (B, T), 0 on padding.
        wish : Tensor
            float32 (B, G, 2) in [0, 1].
        tag_vectors : Tensor
            float32 (G, dw).

        Returns
        -------
        experts : Tensor
            float32 (B, E, D).
        gates : Tensor
            float32 (B, E), >= 0; exactly 0 for every expert of a role without a wish.
        """
        state = self.norm(
            torch.cat([user, self._fuse(user, tokens, attention_mask)], dim=-1)
        )  # (B, dc + dim)
        wanted = F.relu(wish - self.threshold) / (1 - self.threshold)  # (B, G, 2)
        strongest = wanted.amax(dim=1)  # (B, 2)
        # The gate carries how much is wished, the vector where to: shares of the strongest wish, whatever its size.
        shares = wanted / strongest[:, None].clamp(min=1e-6)
        sides = torch.matmul(shares.transpose(1, 2), tag_vectors)  # (B, 2, dw)
        columns = [_ROLE_COLUMN[role] for role in self.roles]
        vectors = [expert(state, sides[:, c]) for expert, c in zip(self.experts, columns, strict=True)]
        return torch.stack(vectors, dim=1), self._gates(state, strongest)

    def _fuse(self, user: Tensor, tokens: Tensor, attention_mask: Tensor) -> Tensor:
        query = self.query(user)[:, None]  # (B, 1, dim)
        key, value = self.key_value(tokens).chunk(2, dim=-1)
        fused = F.scaled_dot_product_attention(
            self._split(query),
            self._split(key),
            self._split(value),
            attn_mask=(attention_mask != 0)[:, None, None],
        )
        return fused.transpose(1, 2).flatten(2)[:, 0]  # (B, dim)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _gates(self, state: Tensor, strongest: Tensor) -> Tensor:
        """The strongest wish of each expert's role, divided among the experts of that role by the router."""
        route = self.router(state)  # (B, E)
        gates: list[Tensor | None] = [None] * len(self.roles)
        for role, column in _ROLE_COLUMN.items():
            members = [e for e, r in enumerate(self.roles) if r == role]
            if not members:
                continue
            share = torch.softmax(route[:, members], dim=-1) * strongest[:, column : column + 1]
            for place, e in enumerate(members):
                gates[e] = share[:, place]
        return torch.stack([g for g in gates if g is not None], dim=1)


class _Expert(nn.Module):
    """One direction in item space: a learned collaborative part, and the wished side vector with a learned gain."""

    def __init__(self, user_dim: int, dim: int, side_dim: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(user_dim + dim + side_dim, 2 * dim)
        self.collaborative = nn.Linear(2 * dim, user_dim)
        self.gain = nn.Linear(2 * dim, 1)
        nn.init.zeros_(self.collaborative.weight)  # starts as a pure tag bonus or penalty
        nn.init.zeros_(self.collaborative.bias)
        nn.init.constant_(self.gain.bias, 5.0)

    def forward(self, state: Tensor, side: Tensor) -> Tensor:
        """float32 (B, dc + dim), (B, dw) -> (B, D)."""
        hidden = F.gelu(self.hidden(torch.cat([state, side], dim=-1)))
        return torch.cat([self.collaborative(hidden), F.softplus(self.gain(hidden)) * side], dim=-1)
