# What all variants share: a checkpoint's frozen answers. Computed once, because it costs more than training on it.
"""Shared inputs of the ablations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dpr_bench.ablations.cases import Case, make_cases, make_wishes
from dpr_train.checkpoint import Checkpoint, CheckpointError, load_checkpoint
from dpr_train.config import TrainConfig
from dpr_train.data import Dataset, LeaveOneOut, leave_one_out
from dpr_train.item_texts import TextEmbedder
from dpr_train.progress import Progress, silent
from dpr_train.run import steering_prompts
from dpr_train.stages.prompt_pool import PromptPool
from dpr_train.stages.user_states import UserStates, collect_user_states
from dpr_train.user_vectors import user_vectors

__all__ = ["Inputs", "open_inputs", "without_texts"]

_WORDING_SEED = 0  # of the evaluation: the same prompts, whatever the seed of the training


@dataclass(frozen=True)
class Inputs:
    """A checkpoint and the training and validation parts of its data.

    Parameters
    ----------
    folder : Path
        Of the checkpoint.
    checkpoint : Checkpoint
        Loaded.
    config : TrainConfig
        That it was trained with.
    split : LeaveOneOut
        Of its data. Stage 3 trains on the training parts; they and the validation items are evaluated.
    descriptions : sequence of str
        Texts of the items.
    embed : TextEmbedder
        Reads texts.
    cases : sequence of Case
        What is measured.
    progress : callable
        ``(what, done, total, text)``.
    """

    folder: Path
    checkpoint: Checkpoint
    config: TrainConfig
    split: LeaveOneOut
    descriptions: Sequence[str]
    embed: TextEmbedder
    cases: Sequence[Case]
    progress: Progress

    @property
    def tags(self) -> npt.NDArray[np.bool_]:
        """Which item has which tag, bool (N, G)."""
        return self.checkpoint.model.carries

    @cached_property
    def states(self) -> UserStates:
        """What the checkpoint's backbone says of every training position."""
        return collect_user_states(self.checkpoint.model.backbone, self.split.train, self.tags)

    @cached_property
    def users(self) -> Tensor:
        """What it says of the histories that are evaluated, float32 (U, dc)."""
        return user_vectors(self.checkpoint.model.backbone, self.split.train, by_length=False)

    def prompts(self, seed: int) -> PromptPool:
        """Training prompts of a seed, encoded."""
        config = self.config.model_copy(update={"seed": seed})
        model, tokenizer = self.checkpoint.model, self.checkpoint.tokenizer
        return steering_prompts(model, tokenizer, self.embed, config, self.descriptions, self.progress)


def checkpoint_config(folder: Path) -> TrainConfig:
    """The settings that a checkpoint was trained with."""
    return TrainConfig.model_validate(load_checkpoint(folder).training["config"])


def open_inputs(
    folder: Path, data: Dataset, text_folder: Path, progress: Progress, *, device: torch.device | None = None
) -> Inputs:
    """Load a checkpoint, and word what the variants are asked.

    Parameters
    ----------
    folder : Path
        Of the checkpoint.
    data : Dataset
        That it was trained on.
    text_folder : Path
        Hugging Face folder of the encoder that read the items' texts.
    progress : callable
        ``(what, done, total, text)``.
    device : torch.device, optional
        Where models compute.

    Raises
    ------
    CheckpointError
        If it is no checkpoint, or was trained on other data.
    """
    checkpoint = load_checkpoint(folder)
    if data.source_sha256 != checkpoint.training["data_sha256"] or data.n_items != len(checkpoint.items):
        raise CheckpointError(
            f"{folder} was trained on {checkpoint.training['dataset']} with checksum "
            f"{checkpoint.training['data_sha256']}; got {data.name} with {data.source_sha256}"
        )
    split = leave_one_out(data.sequences)
    model = checkpoint.model.to(device)
    wishes = make_wishes(split.train, split.validation, model.carries)
    cases = make_cases(wishes, model, checkpoint.tokenizer, seed=_WORDING_SEED, progress=progress)
    return Inputs(
        folder,
        checkpoint,
        TrainConfig.model_validate(checkpoint.training["config"]),
        split,
        data.items.descriptions,
        _Remembering(text_folder, device),
        cases,
        progress,
    )


def without_texts(pool: PromptPool) -> PromptPool:
    """The prompts of a pool that are about tags: what stage 3 draws for a model without a text side."""
    rows = np.flatnonzero(pool.asked.any(1) | pool.refused.any(1)).tolist()
    return PromptPool(
        [pool.prompts[row] for row in rows],
        [pool.encoded[row] for row in rows],
        pool.allowed[rows],
        pool.asked[rows],
        pool.refused[rows],
    )


class _Remembering(TextEmbedder):
    """Reads the same texts once, whatever the number of seeds."""

    def __init__(self, folder: Path, device: torch.device | None) -> None:
        super().__init__(folder, device=device)
        self._known: dict[tuple[str, ...], Tensor] = {}

    def __call__(self, texts: Sequence[str], *, batch_size: int = 64, progress: Progress = silent) -> Tensor:
        """See :class:`TextEmbedder`."""
        key = tuple(texts)
        if key not in self._known:
            self._known[key] = super().__call__(texts, batch_size=batch_size, progress=progress)
        return self._known[key]
