# What items' texts mean: sentence embeddings of the pretrained encoder, as it came, in the few directions that tell
# items apart.
"""Text part of the side vectors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from dpr_train.config import PromptEncoderConfig
from dpr_train.devices import device_of, tensors_on
from dpr_train.progress import Progress, silent
from dpr_train.prompt_encoder import build_prompt_encoder, load_tokenizer, tokenize

__all__ = ["TextEmbedder", "places_of", "principal_directions"]


class TextEmbedder:
    """Sentence embeddings: the mean of the tokens of a pretrained encoder, unit length. A text is read once.

    Parameters
    ----------
    folder : Path
        Hugging Face folder of a sentence encoder (all-MiniLM-L6-v2); it is never trained.
    max_tokens : int
        Of a longer text the beginning is read, and as much as the encoder takes.
    device : torch.device, optional
        Where it reads; what it gives is on the CPU.
    """

    def __init__(self, folder: Path, *, max_tokens: int = 64, device: torch.device | None = None) -> None:
        has = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config = PromptEncoderConfig(
            layers=has["num_hidden_layers"],  # its last layer is what it was trained to compare sentences by
            max_tokens=min(max_tokens, has.get("max_position_embeddings", max_tokens)),
        )
        self.max_tokens = config.max_tokens
        self.encoder = build_prompt_encoder(config, folder).eval().to(device)
        self.tokenizer: Tokenizer = load_tokenizer(folder, config.max_tokens)
        self.dim = self.encoder.token_dim
        self._read: dict[str, Tensor] = {}

    @torch.no_grad()
    def __call__(self, texts: Sequence[str], *, batch_size: int = 64, progress: Progress = silent) -> Tensor:
        """Embeddings float32 (n, p), unit length, in order."""
        new = sorted(set(texts) - self._read.keys(), key=lambda text: (len(text), text))
        for start in range(0, len(new), batch_size):
            part = new[start : start + batch_size]
            ids, mask = tensors_on(device_of(self.encoder), *tokenize(self.tokenizer, part))
            weight = mask[..., None].float()
            tokens = self.encoder.tokens(ids, mask)
            vectors = F.normalize((tokens * weight).sum(1) / weight.sum(1), dim=-1).cpu()
            self._read |= dict(zip(part, vectors, strict=True))
            progress("reading texts", min(start + batch_size, len(new)), len(new), "")
        return torch.stack([self._read[text] for text in texts]) if texts else torch.zeros(0, self.dim)


def places_of(embedded: Tensor, mean: Tensor, basis: Tensor) -> Tensor:
    """Where embedded texts (n, p) lie in some directions (p, dim) of their catalogue: float32 (n, dim), unit length."""
    return F.normalize((embedded - mean) @ basis, dim=-1, eps=1e-6)


def principal_directions(embeddings: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Mean (p,) and the ``dim`` directions (p, dim) in which embeddings (n, p) differ most; missing ones are 0."""
    mean = embeddings.mean(0)
    _, _, rows = torch.linalg.svd(embeddings - mean, full_matrices=False)
    basis = torch.zeros(embeddings.shape[1], dim)
    found = rows[:dim].T
    # A direction's sign is arbitrary; fixed, so that the same texts give the same vectors on every machine.
    sign = torch.sign(found[found.abs().argmax(0), torch.arange(found.shape[1])])
    basis[:, : found.shape[1]] = found * sign
    return mean, basis
