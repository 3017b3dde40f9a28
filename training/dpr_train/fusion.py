# Fusion and the mixture of experts: from a user and a prompt's wishes to directions in item space, and gates.
# No parameter belongs to a tag: G is free.
"""Fusion of user and prompt, and the experts that steer retrieval."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpr_train.understanding import TextReader

__all__ = ["EXPERT_ROLES", "WISH_COLUMN", "Expert", "FusionMoE", "deal"]

# An expert's kind: the side of the score that it acts on, and what it reads.
EXPERT_ROLES = {
    "toward": "toward",
    "away": "away",
    "against": "toward",  # a refusal as a linear term: turns the query away, and so rewards what is least like the tag
    "toward_text": "toward",
    "away_text": "away",
}
# The wishes that a kind follows: the column of wish's last axis, and of what the text reader gives.
WISH_COLUMN = {"toward": 0, "away": 1, "against": 1, "toward_text": 0, "away_text": 1}

_SURE = 0.5  # at which a text expert's gate begins to open
_SHARED = {"away": "toward", "against": "toward", "away_text": "toward_text"}


class FusionMoE(nn.Module):
    """The user's state attends over the prompt's tokens; each expert then turns both, and one wish, into a vector.

    The strongest wish of a polarity goes to the first expert of that role, the next one to the second, and so on;
    the last expert takes what is left. A text expert reads no tags: it points at what the wished words mean, in the
    space of items' texts.

    Parameters
    ----------
    user_dim : int
        dc.
    token_dim : int
        p.
    tag_dim, text_dim : int
        Widths of the two parts of a side vector: dw = tag_dim + text_dim.
    dim, heads : int
        Width and heads of the fusion attention.
    kinds : sequence of str
        One of ``EXPERT_ROLES`` an expert.
    threshold : float
        A wish below it is no wish: it neither opens a gate nor moves a vector.
    reader_dim : int
        Inner width of the text reader, that of the prompt encoder's head.
    separate : bool
        Weights of its own for every kind of expert; otherwise all kinds that read the same share them.
    learned_gates : bool
        A gate is the wish's strength times a learned weight; otherwise the strength alone.
    token_attention : bool
        The user's state attends over the prompt's tokens; otherwise the experts know of a prompt by its wishes alone.

    References
    ----------
    "Give Users the Wheel: Towards Promptable Recommendation Paradigm", arXiv 2602.18929: Fusion by attention
    between user state and prompt, experts apart for positive and negative steering.
    """

    text_basis: Tensor
    text_mean: Tensor

    def __init__(
        self,
        *,
        user_dim: int,
        token_dim: int,
        tag_dim: int,
        text_dim: int,
        dim: int,
        heads: int,
        kinds: Sequence[str],
        threshold: float,
        reader_dim: int,
        separate: bool = True,
        learned_gates: bool = True,
        token_attention: bool = True,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.learned_gates = learned_gates
        self.token_attention = token_attention
        self.threshold = threshold
        self.tag_dim = tag_dim
        self.text_dim = text_dim
        self.kinds = tuple(kinds)
        self.roles = tuple(EXPERT_ROLES[kind] for kind in kinds)
        self.query = nn.Linear(user_dim, dim)
        self.key_value = nn.Linear(token_dim, 2 * dim)
        self.norm = nn.LayerNorm(user_dim + dim)
        self.reader = TextReader(token_dim, reader_dim)
        self.register_buffer("text_basis", torch.zeros(token_dim, text_dim))
        self.register_buffer("text_mean", torch.zeros(token_dim))
        # An expert's weights are found by its kind, or by what it reads where kinds share them.
        self._weights = {kind: kind if separate else _SHARED.get(kind, kind) for kind in self.kinds}
        self.experts = nn.ModuleDict(
            {
                name: Expert(user_dim, dim, tag_dim, text_dim, text=name.endswith("_text"))
                for name in dict.fromkeys(self._weights.values())
            }
        )

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
            float32 (G, dw), 0 in the text part.

        Returns
        -------
        experts : Tensor
            float32 (B, E, D).
        gates : Tensor
            float32 (B, E), >= 0; exactly 0 for every expert without a wish.
        """
        fused = self._fuse(user, tokens, attention_mask)
        state = self.norm(torch.cat([user, fused], dim=-1))  # (B, dc + dim)
        wanted = self.above(wish)  # (B, G, 2)
        dealt = self.deal_to_experts(tokens, attention_mask, wanted, tag_vectors)
        vectors, gates = [], []
        for e, kind in enumerate(self.kinds):
            strength, side = dealt[e]
            vector, weight = self.expert_of(kind)(state, side, wanted.amax(1))
            vectors.append(vector)
            gates.append(strength * weight if self.learned_gates else strength)
        return torch.stack(vectors, dim=1), torch.stack(gates, dim=1)

    def expert_of(self, kind: str) -> Expert:
        """The expert whose weights a kind uses."""
        return self.experts[self._weights[kind]]  # type: ignore[return-value]

    def deal_to_experts(
        self, tokens: Tensor, attention_mask: Tensor, wanted: Tensor, tag_vectors: Tensor
    ) -> dict[int, tuple[Tensor, Tensor]]:
        """For each expert the strength (B,) of its wish, and where to: a side vector's tag or text part."""
        dealt = {}
        for tag_kind in ("toward", "away", "against"):
            places = [e for e, kind in enumerate(self.kinds) if kind == tag_kind]
            shares = deal(wanted[..., WISH_COLUMN[tag_kind]], len(places))
            for e, (strength, share) in zip(places, shares, strict=True):
                side = torch.matmul(share, tag_vectors[:, : self.tag_dim])
                dealt[e] = strength, -side if tag_kind == "against" else side
        if any(kind.endswith("_text") for kind in self.kinds):
            content, sure = self.contents(tokens, attention_mask)
            for e, kind in enumerate(self.kinds):
                if kind.endswith("_text"):
                    dealt[e] = sure[:, WISH_COLUMN[kind]], content[:, WISH_COLUMN[kind]]
        return dealt

    def above(self, x: Tensor) -> Tensor:
        """What exceeds the threshold, stretched to [0, 1]; exactly 0 below it."""
        return F.relu(x - self.threshold) / (1 - self.threshold)

    def contents(self, tokens: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Contents of both polarities among items' texts, float32 (B, 2, text_dim), and how sure they are, (B, 2)."""
        content, strength = self.reader(tokens, attention_mask)
        place = torch.matmul(content - self.text_mean, self.text_basis)
        # Surer than of a tag: no name confirms that something is wished for.
        return F.normalize(place, dim=-1, eps=1e-6), 2 * F.relu(strength - _SURE)

    def _fuse(self, user: Tensor, tokens: Tensor, attention_mask: Tensor) -> Tensor:
        query = self.query(user)[:, None]  # (B, 1, dim)
        if not self.token_attention:
            return torch.zeros_like(query[:, 0])
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


def deal(wanted: Tensor, places: int) -> list[tuple[Tensor, Tensor]]:
    """Deal the wishes of one polarity to experts, the strongest first; or those of several polarities at once.

    Parameters
    ----------
    wanted : Tensor
        float32 (B, G) of one polarity, (B, G, K) of K.
    places : int
        Experts of each.

    Returns
    -------
    list of (Tensor, Tensor)
        For each expert its strength (B,), and its shares of the tags (B, G): one tag, or for the last expert all that
        is left, relative to the strongest. Of several polarities, (B, K) and (B, G, K).
    """
    dealt, rest = [], wanted
    at = torch.arange(wanted.shape[1], device=wanted.device).reshape(-1, *[1] * (wanted.dim() - 2))[None]
    for place in range(places):
        strength = rest.amax(dim=1)  # (B,)
        if place + 1 < places:
            share = (at == rest.argmax(dim=1, keepdim=True)).to(rest.dtype) * (strength > 0)[:, None]
            rest = rest * (1 - share)
        else:
            # The gate carries how much is wished, the vector where to.
            share = rest / strength[:, None].clamp(min=1e-6)
        dealt.append((strength, share))
    return dealt


class Expert(nn.Module):
    """One direction in item space: a learned collaborative part, and the wished side vector with a learned gain."""

    def __init__(self, user_dim: int, dim: int, tag_dim: int, text_dim: int, *, text: bool) -> None:
        super().__init__()
        self.text = text
        # The empty part of the side vector: text for an expert of tags, tags for one of texts.
        self.empty = tag_dim if text else text_dim
        side_dim = text_dim if text else tag_dim
        self.hidden = nn.Linear(user_dim + dim + side_dim + 2, 2 * dim)
        self.collaborative = nn.Linear(2 * dim, user_dim)
        self.gain = nn.Linear(2 * dim, 1)
        self.weight = nn.Linear(2 * dim, 1)
        nn.init.zeros_(self.collaborative.weight)  # starts as a pure tag bonus or penalty
        nn.init.zeros_(self.collaborative.bias)
        nn.init.constant_(self.gain.bias, 2.0 if text else 5.0)
        nn.init.zeros_(self.weight.weight)
        nn.init.constant_(self.weight.bias, 0.0 if text else 3.0)

    def forward(self, state: Tensor, side: Tensor, strongest: Tensor) -> tuple[Tensor, Tensor]:
        """Vector (B, D) and weight (B,) in [0, 1], of state (B, dc + dim), side vector and strongest wishes (B, 2)."""
        hidden = F.gelu(self.hidden(torch.cat([state, side, strongest], dim=-1)))
        side = F.softplus(self.gain(hidden)) * side
        side = F.pad(side, (self.empty, 0) if self.text else (0, self.empty))
        weight = torch.sigmoid(self.weight(hidden))[:, 0]
        return torch.cat([self.collaborative(hidden), side], dim=-1), weight
