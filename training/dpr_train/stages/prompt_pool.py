# Draws and encodes a few thousand prompts once, so that stage 3 never runs the prompt encoder.
"""A pool of encoded training prompts, each with the items that obey it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from dpr_train.devices import tensors_on
from dpr_train.progress import Progress, silent
from dpr_train.prompt_encoder import PromptEncoder, tokenize
from dpr_train.prompts import LabelledPrompt

__all__ = ["PromptPool", "encode_prompts", "obedient_items", "stack_prompts"]

BoolArray = npt.NDArray[np.bool_]
Encoded = tuple[Tensor, Tensor]  # tokens float32 (T, p), wish float32 (G, 2)


def obedient_items(prompt: LabelledPrompt, carries: BoolArray) -> BoolArray:
    """Items that have every tag that a prompt asks for and none that it refuses: bool (N, G) -> bool (N,)."""
    allowed = np.ones(len(carries), dtype=np.bool_)
    if prompt.asked:
        allowed &= carries[:, list(prompt.asked)].all(1)
    if prompt.refused:
        allowed &= ~carries[:, list(prompt.refused)].any(1)
    return allowed


@dataclass(frozen=True)
class PromptPool:
    """P encoded prompts.

    Parameters
    ----------
    prompts : sequence of LabelledPrompt
        With the wishes that they were made of.
    encoded : sequence of (Tensor, Tensor)
        Tokens and wish of each, as the prompt encoder reads it.
    allowed : bool (P, N)
        Items that obey each.
    asked, refused : bool (P, G)
        Tags that each asks for and refuses.
    """

    prompts: Sequence[LabelledPrompt]
    encoded: Sequence[Encoded]
    allowed: BoolArray
    asked: BoolArray
    refused: BoolArray

    def __len__(self) -> int:
        return len(self.prompts)

    def batch(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor]:
        """``tokens`` (B, T, p), ``attention_mask`` (B, T) and ``wish`` (B, G, 2) of prompts by number."""
        return stack_prompts([self.encoded[row] for row in rows])


def stack_prompts(encoded: Sequence[Encoded]) -> tuple[Tensor, Tensor, Tensor]:
    """Pad encoded prompts to the longest: ``tokens`` (B, T, p), ``attention_mask`` (B, T), ``wish`` (B, G, 2)."""
    tokens = pad_sequence([tokens for tokens, _ in encoded], batch_first=True)
    lengths = torch.tensor([len(tokens) for tokens, _ in encoded], device=tokens.device)
    mask = (torch.arange(tokens.shape[1], device=tokens.device)[None] < lengths[:, None]).to(torch.int64)
    return tokens, mask, torch.stack([wish for _, wish in encoded])


@torch.no_grad()
def encode_prompts(
    encoder: PromptEncoder,
    tokenizer: Tokenizer,
    tag_embeddings: Tensor,
    texts: Sequence[str],
    *,
    batch_size: int = 64,
    progress: Progress = silent,
) -> list[Encoded]:
    """Tokens float32 (T, p) and wish float32 (G, 2) of each text, in order; the encoder is put in evaluation mode."""
    encoder.eval()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # alike lengths together: little padding
    encoded: list[Encoded | None] = [None] * len(texts)
    for start in range(0, len(order), batch_size):
        part = order[start : start + batch_size]
        ids, mask = tokenize(tokenizer, [texts[i] for i in part])
        tokens, wish, _ = encoder(*tensors_on(tag_embeddings.device, ids, mask), tag_embeddings)
        for place, i in enumerate(part):
            encoded[i] = (tokens[place, : int(mask[place].sum())].clone(), wish[place].clone())
        progress("encoding prompts", min(start + batch_size, len(order)), len(order), "")
    return [e for e in encoded if e is not None]
