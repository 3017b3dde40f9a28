# What is examined: one checkpoint, the users of one split, and what the systems need to know of the items.
"""A checkpoint on a split of its data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor

from dpr_train.checkpoint import Checkpoint
from dpr_train.item_texts import TextEmbedder
from dpr_train.metrics import mask_items
from dpr_train.model import DPR
from dpr_train.user_vectors import user_vectors

__all__ = ["CHUNK", "Items", "Subject", "chunks", "make_subject"]

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

CHUNK = 512  # queries scored at a time


@dataclass(frozen=True)
class Items:
    """What is known of the catalogue, whatever the checkpoint.

    Parameters
    ----------
    tags : bool (N, G)
        Which item has which tag.
    popularity : float64 (N,)
        Percentile among the items, by interactions before the test.
    titles : sequence of str
        Title and year.
    own_texts : sequence of str
        Title, year and text, without tags.
    embedded : Tensor
        float32 (N, p), the frozen sentence encoder on title, tags and text.
    """

    tags: BoolArray
    popularity: FloatArray
    titles: Sequence[str]
    own_texts: Sequence[str]
    embedded: Tensor

    def __len__(self) -> int:
        return len(self.tags)


@dataclass(frozen=True)
class Subject:
    """A model in evaluation mode and the users that it is tried on.

    Parameters
    ----------
    model : DPR
        The model.
    tokenizer : Tokenizer
        Of its prompt encoder.
    embed : TextEmbedder
        The frozen sentence encoder of the text baselines.
    items : Items
        The catalogue.
    vectors : Tensor
        float32 (N, D), the model's item vectors.
    histories : sequence of int64 arrays
        Item rows before each target.
    targets : int64 (U,)
        Item rows.
    users : Tensor
        float32 (U, dc), the backbone's user vectors.
    seed : int
        Of the training; it also chooses the prompts.
    """

    model: DPR
    tokenizer: Tokenizer
    embed: TextEmbedder
    items: Items
    vectors: Tensor
    histories: Sequence[IntArray]
    targets: IntArray
    users: Tensor
    seed: int

    @property
    def wish_threshold(self) -> float:
        """What a wish must reach to count."""
        return self.model.config.steering.wish_threshold

    def plain(self, users: IntArray) -> Tensor:
        """The backbone's scores of all items, float32 (b, N); a new tensor."""
        return self.model.backbone.logits(self.users[users])

    def mask(self, scores: Tensor, users: IntArray) -> Tensor:
        """Take every user's own history out of the ranking, in place."""
        return mask_items(scores, [self.histories[user] for user in users])

    def on(self, histories: Sequence[IntArray], targets: IntArray) -> Subject:
        """The same checkpoint on other histories and targets."""
        users = user_vectors(self.model.backbone, histories)
        return replace(self, histories=histories, targets=targets, users=users)


def make_subject(
    checkpoint: Checkpoint,
    items: Items,
    embed: TextEmbedder,
    histories: Sequence[IntArray],
    targets: IntArray,
) -> Subject:
    """Read every history once.

    Parameters
    ----------
    checkpoint : Checkpoint
        Loaded; its seed is that of ``training.json``.
    items : Items
        Its catalogue.
    embed : TextEmbedder
        The frozen sentence encoder.
    histories : sequence of int64 arrays
        Item rows before each target.
    targets : int64 (U,)
        Item rows.
    """
    model = checkpoint.model.eval()
    with torch.no_grad():
        vectors = model.item_vectors()
    return Subject(
        model=model,
        tokenizer=checkpoint.tokenizer,
        embed=embed,
        items=items,
        vectors=vectors,
        histories=histories,
        targets=targets,
        users=user_vectors(model.backbone, histories),
        seed=int(checkpoint.training["config"]["seed"]),
    )


def chunks(count: int, size: int = CHUNK) -> Iterator[slice]:
    """Slices that cover ``count`` rows."""
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
