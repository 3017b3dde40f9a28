# Every different text is read once, by the model's prompt encoder and by the frozen sentence encoder.
"""Prompts as the systems see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dpr_bench.quality.subject import Subject, chunks
from dpr_train.stages.prompt_pool import encode_prompts, stack_prompts

__all__ = ["ReadPrompts", "Steering", "read_prompts", "steer"]

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ReadPrompts:
    """Q prompts of n <= Q different texts.

    Parameters
    ----------
    texts : sequence of str
        The Q prompts.
    row : int64 (Q,)
        For each prompt the number of its text.
    encoded : list of (Tensor, Tensor)
        For each text its tokens and its wish, as the prompt encoder reads it.
    wish : Tensor
        float32 (n, G, 2).
    embedded : Tensor
        float32 (n, p), of the frozen sentence encoder; without rows if it was not asked.
    """

    texts: Sequence[str]
    row: IntArray
    encoded: list[tuple[Tensor, Tensor]]
    wish: Tensor
    embedded: Tensor

    def __len__(self) -> int:
        return len(self.texts)

    def wishes(self, part: slice | IntArray) -> Tensor:
        """Wishes of some prompts, float32 (b, G, 2)."""
        return self.wish[self.row[part]]

    def take(self, chosen: IntArray) -> ReadPrompts:
        """The prompts of these numbers, in this order."""
        return ReadPrompts(
            [self.texts[i] for i in chosen], self.row[chosen], self.encoded, self.wish, self.embedded
        )


def read_prompts(subject: Subject, texts: Sequence[str], *, embed: bool = True) -> ReadPrompts:
    """Read prompts.

    Parameters
    ----------
    subject : Subject
        Whose encoders read.
    texts : sequence of str
        The prompts, repetitions included.
    embed : bool
        Whether the frozen sentence encoder reads them too.
    """
    number = {text: n for n, text in enumerate(dict.fromkeys(texts))}
    different = list(number)
    model = subject.model
    encoded = encode_prompts(model.prompt_encoder, subject.tokenizer, model.tag_embeddings, different)
    embedded = subject.embed(different) if embed else torch.zeros(0, subject.embed.dim)
    row = np.array([number[text] for text in texts], dtype=np.int64)
    wish = torch.stack([wish for _, wish in encoded])
    return ReadPrompts(texts, row, encoded, wish, embedded)


@dataclass(frozen=True)
class Steering:
    """What Fusion and the experts made of each query: ``experts`` float32 (Q, E, D), ``gates`` float32 (Q, E)."""

    experts: Tensor
    gates: Tensor


@torch.no_grad()
def steer(subject: Subject, users: IntArray, read: ReadPrompts) -> Steering:
    """Let every query's prompt meet its user.

    Parameters
    ----------
    subject : Subject
        The model and its users.
    users : int64 (Q,)
        The user of each prompt.
    read : ReadPrompts
        The prompts.
    """
    model = subject.model
    vectors = model.tag_vectors
    parts = []
    for part in chunks(len(users)):
        tokens, mask, wish = stack_prompts([read.encoded[n] for n in read.row[part]])
        parts.append(model.fusion(subject.users[users[part]], tokens, mask, wish, vectors))
    return Steering(torch.cat([e for e, _ in parts]), torch.cat([g for _, g in parts]))
