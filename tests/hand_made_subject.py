# A subject without a network: user vectors, item vectors and tags by hand.

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dpr_bench.quality.prompt_reading import ReadPrompts
from dpr_bench.quality.subject import Items, Subject
from dpr_train.evaluate import TaskQueries

IntArray = npt.NDArray[np.int64]


def hand_made(
    scores: Sequence[Sequence[float]],
    tags: Sequence[Sequence[int]],
    histories: Sequence[Sequence[int]],
    targets: Sequence[int],
    *,
    embedded: Tensor | None = None,
) -> Subject:
    """A subject whose backbone gives each user these scores: they are its user vectors, and items are unit vectors."""
    n_items = len(tags)
    backbone = SimpleNamespace(logits=lambda users: users.clone())
    steering = SimpleNamespace(wish_threshold=0.5)
    model = SimpleNamespace(backbone=backbone, config=SimpleNamespace(steering=steering))
    return Subject(
        model=cast("Any", model),
        tokenizer=cast("Any", None),
        embed=cast("Any", None),
        items=Items(
            tags=np.array(tags, dtype=bool),
            popularity=np.linspace(0, 1, n_items),
            titles=[f"Item {n}" for n in range(n_items)],
            own_texts=[f"Item {n}" for n in range(n_items)],
            embedded=torch.eye(n_items) if embedded is None else embedded,
        ),
        vectors=torch.eye(n_items),
        histories=[np.array(history, dtype=np.int64) for history in histories],
        targets=np.array(targets, dtype=np.int64),
        users=torch.tensor(scores, dtype=torch.float32),
        seed=0,
    )


def queries(name: str, users: Sequence[int], asked: Sequence[int], refused: Sequence[int]) -> TaskQueries:
    """Queries of a task."""
    return TaskQueries(name, *(np.array(values, dtype=np.int64) for values in (users, asked, refused)))


def read_as(
    wishes: Sequence[Sequence[Sequence[float]]], embedded: Sequence[Sequence[float]] = ()
) -> ReadPrompts:
    """Prompts that were read as these wishes (G, 2), with embeddings."""
    wish = torch.tensor(wishes, dtype=torch.float32)
    return ReadPrompts(
        [f"prompt {n}" for n in range(len(wish))],
        np.arange(len(wish)),
        [(torch.zeros(1, 1), w) for w in wish],
        wish,
        torch.tensor(embedded, dtype=torch.float32) if len(embedded) else torch.zeros(len(wish), 0),
    )
