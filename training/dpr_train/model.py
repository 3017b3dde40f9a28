# The whole model: backbone, prompt encoder, Fusion+MoE, side vectors, and the score that puts them together.
"""Promptable sequential recommendation, assembled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from dpr_train.backbones import build_backbone
from dpr_train.config import ModelConfig
from dpr_train.fusion import FusionMoE
from dpr_train.item_texts import places_of
from dpr_train.prompt_encoder import build_prompt_encoder

__all__ = ["DPR"]


class DPR(nn.Module):
    """Backbone, prompt encoder, Fusion+MoE and side vectors of one catalogue.

    Parameters
    ----------
    config : ModelConfig
        Sizes and settings.
    tag_matrix : ndarray
        bool (N, G), which item has which tag.
    encoder_folder : Path
        Hugging Face folder of the prompt encoder.

    Raises
    ------
    ValueError
        If the tag matrix does not have the configuration's shape.
    """

    tag_embeddings: Tensor
    tag_matrix: Tensor
    text_vectors: Tensor

    def __init__(self, config: ModelConfig, tag_matrix: npt.NDArray[np.bool_], encoder_folder: Path) -> None:
        super().__init__()
        expected = (config.n_items, len(config.tags))
        if tag_matrix.shape != expected:
            raise ValueError(f"tag_matrix has shape {tag_matrix.shape}; expected {expected}")
        self.config = config
        steering = config.steering
        self.backbone = build_backbone(config.backbone, config.n_items)
        self.prompt_encoder = build_prompt_encoder(config.prompt_encoder, encoder_folder)
        self.fusion = FusionMoE(
            user_dim=config.backbone.dim,
            token_dim=self.prompt_encoder.token_dim,
            tag_dim=steering.tag_dim,
            text_dim=steering.text_dim,
            dim=steering.fusion_dim,
            heads=steering.fusion_heads,
            kinds=steering.experts,
            threshold=steering.gate_threshold,
            reader_dim=config.prompt_encoder.head_dim,
            separate=steering.separate_experts,
            learned_gates=steering.learned_gates,
            token_attention=steering.token_attention,
        )
        vectors = torch.randn(len(config.tags), steering.tag_dim)
        if len(config.tags) <= steering.tag_dim:
            # Orthogonal rows: what is said of one tag says nothing of another.
            vectors = torch.linalg.qr(vectors.T).Q.T
        self.tag_parts = nn.Parameter(F.normalize(vectors, dim=-1).contiguous())
        self.biases = nn.Parameter(torch.full((len(steering.experts),), -1.0))
        self.register_buffer("tag_embeddings", torch.zeros(len(config.tags), self.prompt_encoder.token_dim))
        self.register_buffer("text_vectors", torch.zeros(config.n_items, steering.text_dim))
        self.register_buffer("tag_matrix", torch.from_numpy(tag_matrix.astype(np.float32)), persistent=False)

    @torch.no_grad()
    def embed_tags(self, tokenizer: Tokenizer) -> None:
        """Compute and keep the embeddings of the tags' names; call it when the prompt encoder has changed."""
        self.prompt_encoder.eval()
        self.tag_embeddings.copy_(self.prompt_encoder.embed_names(tokenizer, self.config.tags))

    def read_wishes(self) -> None:
        """Give Fusion the prompt encoder's way to tell wished tokens; call it when the prompt encoder has changed."""
        self.fusion.reader.load_state_dict(self.prompt_encoder.head.reader.state_dict())

    @torch.no_grad()
    def place_texts(self, embedded: Tensor, mean: Tensor, basis: Tensor) -> None:
        """Keep where items' texts lie, and the directions that contents are read in.

        Parameters
        ----------
        embedded : Tensor
            float32 (N, p), of every item's text.
        mean, basis : Tensor
            float32 (p,) and (p, text_dim), as of :func:`dpr_train.item_texts.principal_directions`.
        """
        self.fusion.text_mean.copy_(mean)
        self.fusion.text_basis.copy_(basis)
        self.text_vectors.copy_(places_of(embedded, mean, basis))

    @property
    def tag_vectors(self) -> Tensor:
        """Side vectors of the tags, float32 (G, dw), 0 in the text part."""
        return F.pad(self.tag_parts, (0, self.config.steering.text_dim))

    @property
    def carries(self) -> npt.NDArray[np.bool_]:
        """Which item has which tag, bool (N, G)."""
        return self.tag_matrix.cpu().numpy() > 0

    def item_vectors(self) -> Tensor:
        """v_i = [c_i ‖ w_i], float32 (N, D); w_i is the sum of its tags' side vectors, and the place of its text."""
        sides = self.config.steering.item_sides
        tags = self.tag_matrix @ self.tag_parts
        parts = [tags if "tags" in sides else torch.zeros_like(tags)]
        parts.append(self.text_vectors if "text" in sides else torch.zeros_like(self.text_vectors))
        return torch.cat([self.backbone.item_vectors(), *parts], dim=1)

    def expert_biases(self) -> Tensor:
        """b_m of every expert, float32 (E,); 0 for the role ``toward``, which has no penalty to shift."""
        away = torch.tensor([role == "away" for role in self.fusion.roles], device=self.biases.device)
        return torch.where(away, self.biases, torch.zeros_like(self.biases))

    def score(
        self, user: Tensor, experts: Tensor, gates: Tensor, items: Tensor, *, strength: float = 1.0
    ) -> Tensor:
        """Scores of all items; the formula of docs/design.md in plain tensor operations.

        Parameters
        ----------
        user : Tensor
            float32 (B, dc).
        experts : Tensor
            float32 (B, E, D).
        gates : Tensor
            float32 (B, E).
        items : Tensor
            float32 (N, D), from :meth:`item_vectors`.
        strength : float
            How far the prompt may move the ranking, >= 0.

        Returns
        -------
        Tensor
            float32 (B, N).
        """
        query = F.pad(user, (0, items.shape[1] - user.shape[1]))
        penalty = user.new_zeros(())
        for e, role in enumerate(self.fusion.roles):
            gate = gates[:, e : e + 1]
            if role == "toward":
                query = query + strength * gate * experts[:, e]
            else:
                reached = experts[:, e] @ items.T + self.biases[e]
                penalty = penalty + gate * self.phi(reached)
        return query @ items.T - strength * penalty

    def steered(
        self,
        user: Tensor,
        tokens: Tensor,
        attention_mask: Tensor,
        wish: Tensor,
        items: Tensor | None = None,
    ) -> Tensor:
        """Scores of all items, steered by encoded prompts.

        Parameters
        ----------
        user : Tensor
            float32 (B, dc).
        tokens, attention_mask, wish : Tensor
            float32 (B, T, p), int64 (B, T) and float32 (B, G, 2), as the prompt encoder gives them.
        items : Tensor, optional
            float32 (N, D), from :meth:`item_vectors`, where they are at hand.

        Returns
        -------
        Tensor
            float32 (B, N).
        """
        experts, gates = self.fusion(user, tokens, attention_mask, wish, self.tag_vectors)
        return self.score(user, experts, gates, self.item_vectors() if items is None else items)

    def phi(self, x: Tensor) -> Tensor:
        """The penalty's shape, >= 0: relu, or softplus with the configured gain."""
        if self.config.steering.phi == "relu":
            return F.relu(x)
        gain = self.config.steering.phi_gain
        return F.softplus(gain * x) / gain
