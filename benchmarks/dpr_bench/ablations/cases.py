# What the variants are asked: users, their wishes, and the prompts that word them. The same for every variant and seed.
"""Evaluation cases: the four tasks, and several wishes at once, each in two wordings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer
from torch import Tensor

from dpr_train.model import DPR
from dpr_train.progress import Progress
from dpr_train.prompts import PromptGrammar, load_corpus
from dpr_train.stages.prompt_pool import encode_prompts
from dpr_train.tasks import recent_tag_counts, refused_tags, wanted_tags

__all__ = ["PLAIN", "SEEN", "VALIDATION", "Case", "Wishes", "make_cases", "make_wishes"]

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
Encoded = tuple[Tensor, Tensor]

PLAIN, SEEN, VALIDATION = "-", "seen", "validation"
# How many tags a task asks for and refuses.
_TASKS = {
    "standard": (0, 0),
    "positive": (1, 0),
    "negative": (0, 1),
    "compound": (1, 1),
    "two asked": (2, 0),
    "two refused": (0, 2),
    "two asked, one refused": (2, 1),
}


@dataclass(frozen=True)
class Wishes:
    """Users of one task, and the tags that each asks for and refuses: int64 (Q,), (Q, asked), (Q, refused)."""

    task: str
    users: IntArray
    asked: IntArray
    refused: IntArray

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True)
class Case:
    """A task in one wording, its prompts encoded; no prompts for the plain task."""

    wishes: Wishes
    wording: str
    encoded: Sequence[Encoded] = ()

    @property
    def name(self) -> str:
        """Task and wording."""
        return self.wishes.task if self.wording == PLAIN else f"{self.wishes.task}, {self.wording}"


def make_wishes(histories: Sequence[IntArray], targets: IntArray, tags: BoolArray) -> list[Wishes]:
    """Derive every task's wishes from histories and targets; users who cannot have such wishes are left out.

    Tags are asked for and refused as in :mod:`dpr_train.tasks`, and where a task needs two, the second best as well.

    Parameters
    ----------
    histories : sequence of int64 arrays
        Item rows before each target.
    targets : int64 (U,)
        Item rows.
    tags : bool (N, G)
        Which item has which tag.
    """
    frequency = tags.sum(0, dtype=np.int64)
    ordered = []
    for history, target in zip(histories, targets, strict=True):
        counts = recent_tag_counts(history, tags)
        ordered.append((wanted_tags(tags[target], counts, frequency), refused_tags(tags[target], counts)))
    found = []
    for task, (n_asked, n_refused) in _TASKS.items():
        users = [u for u, (a, r) in enumerate(ordered) if len(a) >= n_asked and len(r) >= n_refused]
        found.append(
            Wishes(
                task,
                np.array(users, dtype=np.int64),
                np.array([ordered[u][0][:n_asked] for u in users], dtype=np.int64).reshape(
                    len(users), n_asked
                ),
                np.array([ordered[u][1][:n_refused] for u in users], dtype=np.int64).reshape(
                    len(users), n_refused
                ),
            )
        )
    return [wishes for wishes in found if len(wishes)]


def make_cases(
    wishes: Sequence[Wishes], model: DPR, tokenizer: Tokenizer, *, seed: int, progress: Progress
) -> list[Case]:
    """Word the wishes, and read the prompts once.

    Parameters
    ----------
    wishes : sequence of Wishes
        Of all tasks.
    model, tokenizer
        Of the checkpoint; its prompt encoder reads.
    seed : int
        Of the wording.
    progress : callable
        ``(what, done, total, text)``.
    """
    tags = model.config.tags
    grammars = {
        SEEN: PromptGrammar(load_corpus(), tags),
        VALIDATION: PromptGrammar(load_corpus("validation"), tags),
    }
    cases = []
    for number, part in enumerate(wishes):
        if part.task == "standard":
            cases.append(Case(part, PLAIN))
            continue
        for wording, grammar in grammars.items():
            texts = _texts(part, grammar, np.random.default_rng([seed, number]))
            encoded = encode_prompts(
                model.prompt_encoder, tokenizer, model.tag_embeddings, texts, progress=progress
            )
            cases.append(Case(part, wording, encoded))
    return cases


def _texts(wishes: Wishes, grammar: PromptGrammar, rng: np.random.Generator) -> list[str]:
    texts = []
    for asked, refused in zip(wishes.asked.tolist(), wishes.refused.tolist(), strict=True):
        if len(asked) + len(refused) == 1:
            prompt = grammar.single(rng, (asked + refused)[0], refuse=bool(refused))
        else:
            prompt = grammar.compound(rng, asked, refused)
        texts.append(prompt.text)
    return texts
