# The head that reads wishes off a prompt's tokens. It compares tokens with embeddings of the tags' names, so it has no
# parameter that belongs to a tag, and works for any catalogue's tags.
"""Understanding head: which tokens carry a wish, is it a request or a refusal, and which tag does it name."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ASKED", "NO_WISH", "REFUSED", "TextReader", "Understanding", "UnderstandingHead"]

NO_WISH, ASKED, REFUSED = range(3)  # classes of a token


@dataclass(frozen=True)
class Understanding:
    """What the head computed, before and after the squashing that training needs apart.

    Parameters
    ----------
    match : Tensor
        float32 (B, G, T), how much token t names tag g (a logit; padding holds a large negative number).
    presence : Tensor
        float32 (B, G), logit that the prompt speaks of tag g.
    roles : Tensor
        float32 (B, T, 3), logits of each token's class: no wish (also where a tag is spoken of without one), asked,
        refused.
    polarity : Tensor
        float32 (B, G, 3), probabilities of those classes where tag g is named.
    real : Tensor
        float32 (B, T), 0 on padding.
    lift_above : Tensor
        float32 (), a match.
    """

    match: Tensor
    presence: Tensor
    roles: Tensor
    polarity: Tensor
    real: Tensor
    lift_above: Tensor

    @property
    def wish(self) -> Tensor:
        """float32 (B, G, 2) in [0, 1]: how much each tag is asked for, and how much refused.

        Where tokens carry a wish of some polarity and no tag is present with it, the tag that comes nearest to those
        tokens is taken, if it is nearer than ``lift_above``: what training never named is recognised more faintly.
        Where one tag comes nearest to both a request and a refusal, it is taken for neither.
        """
        plain = torch.sigmoid(self.presence)[..., None] * self.polarity[..., ASKED:]  # (B, G, 2)
        if plain.shape[1] == 0:
            return plain  # no tags, none nearest
        carried = torch.log_softmax(self.roles, dim=-1)[..., ASKED:]  # (B, T, 2)
        nearness = (self.match[..., None] + carried[:, None]).amax(dim=2)  # (B, G, 2)
        nearest = nearness.amax(dim=1, keepdim=True)  # (B, 1, 2)
        sure = (carried.exp() * self.real[..., None]).amax(dim=1, keepdim=True)
        unheard = (sure >= 0.5) & (plain.amax(dim=1, keepdim=True) < 0.5) & (nearest > self.lift_above)
        lifted = unheard & (nearness == nearest) & (plain.flip(-1) < 0.5)
        return torch.where(lifted & ~lifted.all(dim=-1, keepdim=True), sure, plain)

    @property
    def released(self) -> Tensor:
        """float32 (B, G) in [0, 1]: how much a tag is spoken of without a wish, such as one taken back."""
        return torch.sigmoid(self.presence) * self.polarity[..., NO_WISH]


class TextReader(nn.Module):
    """Reads off the tokens which of them carry a wish, and what their content is in the space of items' texts.

    Parameters
    ----------
    token_dim : int
        Width p of tokens, and of the sentence embeddings that content is compared with.
    dim : int
        Inner width.
    """

    def __init__(self, token_dim: int, dim: int) -> None:
        super().__init__()
        self.role = nn.Sequential(nn.Linear(token_dim, dim), nn.GELU(), nn.Linear(dim, 3))
        self.content = nn.Linear(token_dim, token_dim)
        nn.init.eye_(self.content.weight)
        nn.init.zeros_(self.content.bias)

    def roles(self, tokens: Tensor) -> Tensor:
        """Logits of each token's class: float32 (B, T, p) -> (B, T, 3)."""
        return self.role(tokens)

    def forward(self, tokens: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Content of what is asked for and of what is refused.

        Parameters
        ----------
        tokens : Tensor
            float32 (B, T, p).
        attention_mask : Tensor
            int64 (B, T), 0 on padding.

        Returns
        -------
        content : Tensor
            float32 (B, 2, p), unit length.
        strength : Tensor
            float32 (B, 2) in [0, 1]: how sure it is that some token carries such a wish.
        """
        roles = torch.softmax(self.roles(tokens), dim=-1)
        wished = roles[..., ASKED:] * attention_mask[..., None]  # (B, T, 2)
        content = torch.matmul(wished.transpose(1, 2), self.content(tokens))  # (B, 2, p)
        return F.normalize(content, dim=-1, eps=1e-6), wished.amax(dim=1)


class UnderstandingHead(nn.Module):
    """A class for every token (no wish, asked, refused), a match of every token with every tag, and their meeting.

    The class is decided token by token, by an encoder that has read the whole sentence; a tag's polarity is the class
    of the tokens that name it. So two wishes in one sentence can't be swapped as a whole, and polarity is learned once
    for all tags.

    Parameters
    ----------
    token_dim : int
        Width p of tokens and of tag embeddings.
    dim : int
        Inner width.
    """

    lift_above: Tensor
    _PADDING = -1e4  # far below any logit, and still finite in float16

    def __init__(self, token_dim: int, dim: int) -> None:
        super().__init__()
        self.match_token = nn.Linear(token_dim, dim, bias=False)
        self.match_tag = nn.Linear(token_dim, dim, bias=False)
        # The same projection to begin with: a pretrained token is then already close to the name that says the same.
        nn.init.orthogonal_(self.match_token.weight)
        self.match_tag.load_state_dict(self.match_token.state_dict())
        self.match_scale = nn.Parameter(torch.tensor(20.0))
        self.match_bias = nn.Parameter(torch.tensor(-10.0))  # most tags are absent from most prompts
        self.register_buffer("lift_above", torch.tensor(1e4))  # never, until it is chosen
        self.reader = TextReader(token_dim, dim)

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
        token = F.normalize(self.match_token(tokens), dim=-1, eps=1e-6)
        tag = F.normalize(self.match_tag(tag_embeddings), dim=-1, eps=1e-6)
        match = torch.matmul(tag, token.transpose(1, 2)) * self.match_scale + self.match_bias
        match = match.masked_fill(padding, self._PADDING)  # (B, G, T)
        where = torch.softmax(match, dim=-1)
        # (B, G), between the mean and the largest logit. A product for every tag and prompt: onnxruntime sums rows of
        # odd length in an order that depends on the rows before; what a prompt says must not depend on its batch.
        presence = torch.matmul(where[:, :, None], match[..., None])[..., 0, 0]
        roles = self.reader.roles(tokens)  # (B, T, 3)
        polarity = torch.matmul(where, torch.softmax(roles, dim=-1))  # (B, G, 3)
        return Understanding(
            match, presence, roles, polarity, attention_mask.to(match.dtype), self.lift_above
        )
