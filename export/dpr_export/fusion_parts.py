# Fusion cut in two for serving: what a prompt says to the experts, kept with the prompt, and what a user adds to it.
# The weights are FusionMoE's; only the order of the arithmetic differs.
"""The two halves of Fusion + MoE: one reads a prompt, the other a user."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpr_train.fusion import WISH_COLUMN, FusionMoE, deal

__all__ = ["PromptHalf", "UserHalf"]


class PromptHalf(nn.Module):
    """What does not depend on the user: keys and values of the attention, wishes dealt to experts, their side vectors.

    Parameters
    ----------
    fusion : FusionMoE
        Whose weights to use.
    """

    order: Tensor

    def __init__(self, fusion: FusionMoE) -> None:
        super().__init__()
        self.fusion = fusion
        state = fusion.norm.normalized_shape[0]
        side, strongest, bias = [], [], []
        for kind in fusion.kinds:
            expert = fusion.expert_of(kind)
            weight = expert.hidden.weight[:, state:].detach()  # (2 dim, width + 2)
            width = weight.shape[1] - 2
            before = fusion.tag_dim if expert.text else 0
            after = fusion.tag_dim + fusion.text_dim - before - width
            side.append(F.pad(weight[:, :width], (before, after)).T)
            strongest.append(weight[:, width:].T)
            bias.append(expert.hidden.bias.detach())
        self.side = nn.Parameter(torch.stack(side))  # (E, dw, 2 dim)
        self.strongest = nn.Parameter(torch.cat(strongest, 1))  # (2, E * 2 dim)
        self.bias = nn.Parameter(torch.cat(bias))  # (E * 2 dim,)
        kinds = fusion.kinds
        places_of = {kind: [e for e, other in enumerate(kinds) if other == kind] for kind in kinds}
        self.kinds_by_places: dict[int, list[str]] = {}
        for kind in ("toward", "away", "against"):
            if kind in places_of:
                self.kinds_by_places.setdefault(len(places_of[kind]), []).append(kind)
        texts = [e for e, kind in enumerate(kinds) if fusion.expert_of(kind).text]
        self.text_columns = [WISH_COLUMN[kinds[e]] for e in texts]
        # Experts in the order in which forward comes by them; where each of them lies in it.
        met = [
            places_of[kind][place]
            for places, of_them in self.kinds_by_places.items()
            for place in range(places)
            for kind in of_them
        ]
        self.register_buffer("order", torch.argsort(torch.tensor(met + texts)))

    def forward(
        self, tokens: Tensor, attention_mask: Tensor, wish: Tensor, tag_vectors: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Read a prompt.

        Parameters
        ----------
        tokens, attention_mask, wish, tag_vectors : Tensor
            As for ``FusionMoE.forward``.

        Returns
        -------
        keys, values : Tensor
            float32 (B, T, dim).
        hidden : Tensor
            float32 (B, E, 2 dim): the prompt's share of the experts' inner state, before the activation.
        sides : Tensor
            float32 (B, E, dw): the side vectors that are wished for, before their gain.
        strengths : Tensor
            float32 (B, E), >= 0; exactly 0 for an expert without a wish.
        """
        fusion = self.fusion
        keys, values = fusion.key_value(tokens).chunk(2, dim=-1)
        if not fusion.token_attention:
            values = values * 0
        wanted = fusion.above(wish)  # (B, G, 2)
        strengths, sides = self._of_tags(wanted, tag_vectors)
        if self.text_columns:
            content, sure = fusion.contents(tokens, attention_mask)
            if self.text_columns != [0, 1]:
                content, sure = content[:, self.text_columns], sure[:, self.text_columns]
            strengths.append(sure)
            sides.append(F.pad(content, (fusion.tag_dim, 0)))
        side = torch.cat(sides, dim=1).index_select(1, self.order)  # (B, E, dw)
        from_sides = torch.matmul(side.transpose(0, 1), self.side).transpose(0, 1)  # (B, E, 2 dim)
        hidden = from_sides + (torch.matmul(wanted.amax(1), self.strongest) + self.bias).reshape(
            from_sides.shape
        )
        return keys, values, hidden, side, torch.cat(strengths, dim=1).index_select(1, self.order)

    def _of_tags(self, wanted: Tensor, tag_vectors: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Strengths (B, n) and side vectors (B, n, dw) of the experts of tags, in parts."""
        strengths, shares = [], []
        for places, kinds in self.kinds_by_places.items():
            columns = [WISH_COLUMN[kind] for kind in kinds]
            # Kinds with as many experts are dealt to together.
            for strength, share in deal(wanted if columns == [0, 1] else wanted[..., columns], places):
                strengths.append(strength)
                if "against" in kinds:
                    share = share * torch.tensor([-1.0 if kind == "against" else 1.0 for kind in kinds])
                shares.append(share)
        if not shares:
            return [], []
        tags = torch.matmul(torch.cat(shares, dim=2).transpose(1, 2), tag_vectors[:, : self.fusion.tag_dim])
        return strengths, [F.pad(tags, (0, self.fusion.text_dim))]


class UserHalf(nn.Module):
    """What a user adds: the attention over the prompt, and all experts in one product.

    Parameters
    ----------
    fusion : FusionMoE
        Whose weights to use.
    """

    def __init__(self, fusion: FusionMoE) -> None:
        super().__init__()
        self.heads = fusion.heads
        self.learned_gates = fusion.learned_gates
        self.query = fusion.query
        self.norm = fusion.norm
        state = fusion.norm.normalized_shape[0]
        inner, out, bias = [], [], []
        for kind in fusion.kinds:
            expert = fusion.expert_of(kind)
            inner.append(expert.hidden.weight[:, :state].detach().T)
            parts = (expert.collaborative, expert.gain, expert.weight)
            out.append(torch.cat([part.weight.detach() for part in parts]).T)
            bias.append(torch.cat([part.bias.detach() for part in parts]))
        self.inner = nn.Parameter(torch.cat(inner, 1))  # (dc + dim, E * 2 dim)
        self.out = nn.Parameter(torch.stack(out))  # (E, 2 dim, dc + 2)
        self.bias = nn.Parameter(torch.stack(bias)[:, None])  # (E, 1, dc + 2)

    def forward(
        self,
        user: Tensor,
        keys: Tensor,
        values: Tensor,
        attention_mask: Tensor,
        hidden: Tensor,
        sides: Tensor,
        strengths: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Experts' vectors and gates.

        Parameters
        ----------
        user : Tensor
            float32 (B, dc).
        keys, values, hidden, sides, strengths : Tensor
            What :class:`PromptHalf` gives.
        attention_mask : Tensor
            int64 (B, T), 0 on padding.

        Returns
        -------
        experts, gates : Tensor
            As ``FusionMoE.forward``.
        """
        dim = user.shape[1]
        state = self.norm(torch.cat([user, self._attend(user, keys, values, attention_mask)], dim=-1))
        inner = F.gelu(torch.matmul(state, self.inner).reshape(hidden.shape) + hidden)  # (B, E, 2 dim)
        out = (torch.matmul(inner.transpose(0, 1), self.out) + self.bias).transpose(0, 1)  # (B, E, dc + 2)
        pointed = F.softplus(out[..., dim : dim + 1]) * sides
        gates = strengths * torch.sigmoid(out[..., dim + 1]) if self.learned_gates else strengths
        return torch.cat([out[..., :dim], pointed], dim=-1), gates

    def _attend(self, user: Tensor, keys: Tensor, values: Tensor, attention_mask: Tensor) -> Tensor:
        fused = F.scaled_dot_product_attention(
            self._split(self.query(user)[:, None]),
            self._split(keys),
            self._split(values),
            attn_mask=(attention_mask != 0)[:, None, None],
        )
        return fused.transpose(1, 2).flatten(2)[:, 0]  # (B, dim)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
