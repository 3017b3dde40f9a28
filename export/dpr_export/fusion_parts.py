# Fusion cut in two for serving: what a prompt says to the experts, kept with the prompt, and what a user adds to it.
# The weights are FusionMoE's; only the order of the arithmetic differs.
"""The two halves of Fusion + MoE: one reads a prompt, the other a user."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpr_train.fusion import FusionMoE

__all__ = ["PromptHalf", "UserHalf"]


class PromptHalf(nn.Module):
    """What does not depend on the user: keys and values of the attention, wishes dealt to experts, their side vectors.

    Parameters
    ----------
    fusion : FusionMoE
        Whose weights to use.
    """

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
        dealt = fusion.deal_to_experts(tokens, attention_mask, wanted, tag_vectors)
        parts = []
        for e, kind in enumerate(fusion.kinds):
            text = fusion.expert_of(kind).text
            parts.append(F.pad(dealt[e][1], (fusion.tag_dim, 0) if text else (0, fusion.text_dim)))
        sides = torch.stack(parts)  # (E, B, dw)
        from_sides = torch.matmul(sides, self.side).transpose(0, 1)  # (B, E, 2 dim)
        hidden = from_sides + (torch.matmul(wanted.amax(1), self.strongest) + self.bias).reshape(
            from_sides.shape
        )
        strengths = torch.stack([dealt[e][0] for e in range(len(fusion.kinds))], dim=1)
        return keys, values, hidden, sides.transpose(0, 1), strengths


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
