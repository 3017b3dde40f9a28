# Encodes a few thousand prompts once, so that stage 3 never runs the prompt encoder.
"""A pool of encoded training prompts, found by what they ask for and refuse."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from dpr_train.progress import Progress, silent
from dpr_train.prompt_encoder import PromptEncoder, tokenize
from dpr_train.prompts import PromptGrammar

__all__ = ["PromptPool", "encode_prompts", "stack_prompts"]

Encoded = tuple[Tensor, Tensor]  # tokens float32 (T, p), wish float32 (G, 2)


class PromptPool:
    """Encoded prompts by (tag asked for, tag refused), -1 for none.

    Parameters
    ----------
    keys : sequence of (int, int)
        What each prompt asks for and refuses.
    encoded : sequence of (Tensor, Tensor)
        Tokens and wish of each prompt.
    """

    def __init__(self, keys: Sequence[tuple[int, int]], encoded: Sequence[Encoded]) -> None:
        self._encoded = encoded
        self._rows: dict[tuple[int, int], list[int]] = {}
        for row, key in enumerate(keys):
            self._rows.setdefault(key, []).append(row)

    @classmethod
    def draw(
        cls,
        grammar: PromptGrammar,
        encoder: PromptEncoder,
        tokenizer: Tokenizer,
        tag_embeddings: Tensor,
        size: int,
        *,
        seed: int,
        progress: Progress,
    ) -> PromptPool:
        """Draw about ``size`` prompts and encode them: single wishes, pairs, and a few neutral ones.

        With many tags not every pair can be had; then pairs are drawn at random until the size is reached.
        """
        rng = np.random.default_rng(seed)
        n_tags = len(grammar.tags)
        singles = max(4, size * 2 // 5 // (2 * n_tags))
        keys = [(tag, -1) for tag in range(n_tags)] * singles + [(-1, tag) for tag in range(n_tags)] * singles
        keys += [(-1, -1)] * max(1, size // 20)
        pairs = [(a, r) for a in range(n_tags) for r in range(n_tags) if a != r]
        left = max(0, size - len(keys))
        order = rng.permutation(len(pairs))
        keys += [pairs[order[i % len(pairs)]] for i in range(left if pairs else 0)]
        prompts = []
        for asked, refused in keys:
            if asked >= 0 and refused >= 0:
                prompts.append(grammar.compound(rng, [asked], [refused]))
            elif asked >= 0 or refused >= 0:
                prompts.append(grammar.single(rng, max(asked, refused), refuse=refused >= 0, meaning=0.2))
            else:
                prompts.append(grammar.neutral(rng))
        texts = [prompt.text for prompt in prompts]
        return cls(keys, encode_prompts(encoder, tokenizer, tag_embeddings, texts, progress=progress))

    def has(self, asked: int, refused: int) -> bool:
        """Whether some prompt asks for and refuses exactly this."""
        return (asked, refused) in self._rows

    def pick(self, asked: int, refused: int, rng: np.random.Generator) -> int:
        """Number of a random prompt that asks for and refuses exactly this."""
        rows = self._rows[asked, refused]
        return rows[int(rng.integers(len(rows)))]

    def batch(self, rows: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """``tokens`` (B, T, p), ``attention_mask`` (B, T) and ``wish`` (B, G, 2) of prompts by number."""
        return stack_prompts([self._encoded[row] for row in rows])


def stack_prompts(encoded: Sequence[Encoded]) -> tuple[Tensor, Tensor, Tensor]:
    """Pad encoded prompts to the longest: ``tokens`` (B, T, p), ``attention_mask`` (B, T), ``wish`` (B, G, 2)."""
    lengths = torch.tensor([len(tokens) for tokens, _ in encoded])
    tokens = pad_sequence([tokens for tokens, _ in encoded], batch_first=True)
    mask = (torch.arange(tokens.shape[1])[None] < lengths[:, None]).to(torch.int64)
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
        tokens, wish = encoder(torch.from_numpy(ids), torch.from_numpy(mask), tag_embeddings)
        for place, i in enumerate(part):
            encoded[i] = (tokens[place, : int(mask[place].sum())].clone(), wish[place].clone())
        progress("encoding prompts", min(start + batch_size, len(order)), len(order), "")
    return [e for e in encoded if e is not None]
