# How well prompts are understood, without any item: wishes as the runtime reads them, against the labels.
"""Measure understanding on wording that training did not see."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer

from dpr_train.devices import tensors_on
from dpr_train.prompt_encoder import PromptEncoder, tokenize
from dpr_train.prompts import LabelledPrompt, PromptGrammar

__all__ = [
    "Understood",
    "by_wishes",
    "draw_prompts",
    "reading_metrics",
    "understand_all",
    "understanding_metrics",
]

THRESHOLD = 0.5
_KINDS = {(1, 0): "ask", (0, 1): "refuse", (1, 1): "compound", (0, 0): "neutral"}


@dataclass(frozen=True)
class Understood:
    """A labelled prompt and the tags that were read off it."""

    prompt: LabelledPrompt
    asked: frozenset[int]
    refused: frozenset[int]

    @property
    def right(self) -> bool:
        """Whether exactly the prompt's wishes, and no other, were read."""
        return self.asked == set(self.prompt.asked) and self.refused == set(self.prompt.refused)

    @property
    def wishes_right(self) -> bool:
        """Whether every wish of the prompt was read with its polarity, whatever else was."""
        return set(self.prompt.asked) <= self.asked and set(self.prompt.refused) <= self.refused

    @property
    def reversed(self) -> bool:
        """Whether some wish was read with the opposite polarity."""
        return bool(set(self.prompt.asked) & self.refused or set(self.prompt.refused) & self.asked)

    @property
    def kept(self) -> int:
        """How many wishes of the prompt were read with their polarity."""
        return len(set(self.prompt.asked) & self.asked) + len(set(self.prompt.refused) & self.refused)

    @property
    def turned(self) -> int:
        """How many wishes of the prompt were read with the opposite polarity alone."""
        return len((set(self.prompt.asked) & self.refused) - self.asked) + len(
            (set(self.prompt.refused) & self.asked) - self.refused
        )


def draw_prompts(
    grammar: PromptGrammar, rng: np.random.Generator, count: int, *, meaning: float = 0.0
) -> dict[str, list[LabelledPrompt]]:
    """``count`` prompts of each kind: ``ask``, ``refuse``, ``compound`` (one wish of each polarity), ``neutral``."""
    n = len(grammar.tags)
    pairs = [[int(t) for t in rng.choice(n, 2, replace=False)] for _ in range(count if n > 1 else 0)]
    return {
        "ask": [
            grammar.single(rng, int(rng.integers(n)), refuse=False, meaning=meaning) for _ in range(count)
        ],
        "refuse": [
            grammar.single(rng, int(rng.integers(n)), refuse=True, meaning=meaning) for _ in range(count)
        ],
        "compound": [grammar.compound(rng, [a], [r]) for a, r in pairs],
        "neutral": [grammar.neutral(rng) for _ in range(count)],
    }


@torch.no_grad()
def understand_all(
    encoder: PromptEncoder,
    tokenizer: Tokenizer,
    tags: Sequence[str],
    prompts: Sequence[LabelledPrompt],
    *,
    batch_size: int = 128,
) -> list[Understood]:
    """Read every prompt's wishes among ``tags``, in order."""
    encoder.eval()
    names = encoder.embed_names(tokenizer, tags)
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i].text))
    read: list[Understood | None] = [None] * len(prompts)
    for start in range(0, len(order), batch_size):
        part = order[start : start + batch_size]
        ids, mask = tensors_on(names.device, *tokenize(tokenizer, [prompts[i].text for i in part]))
        wish = encoder(ids, mask, names)[1].cpu()
        for i, w in zip(part, wish, strict=True):
            asked, refused = (frozenset(torch.nonzero(w[:, c] >= THRESHOLD)[:, 0].tolist()) for c in (0, 1))
            read[i] = Understood(prompts[i], asked, refused)
    return [u for u in read if u is not None]


def understanding_metrics(
    encoder: PromptEncoder,
    tokenizer: Tokenizer,
    grammar: PromptGrammar,
    rng: np.random.Generator,
    *,
    prompts: int,
    meaning: float = 0.0,
) -> dict[str, float]:
    """Shares of ``prompts`` prompts of each kind.

    Returns
    -------
    dict
        ``ask``, ``refuse``, ``compound``, ``neutral``: exactly the prompt's wishes, and no other, were read;
        ``reversed``: a wish was read with the opposite polarity; ``polarity``: of the wishes that were read at all,
        those with the right polarity.
    """
    return reading_metrics(
        encoder, tokenizer, grammar.tags, draw_prompts(grammar, rng, prompts, meaning=meaning)
    )


def reading_metrics(
    encoder: PromptEncoder,
    tokenizer: Tokenizer,
    tags: Sequence[str],
    prompts: Mapping[str, Sequence[LabelledPrompt]],
) -> dict[str, float]:
    """Shares of the prompts of each kind that are read right, kinds without prompts left out.

    Returns
    -------
    dict
        As of :func:`understanding_metrics`, for the kinds that there are.
    """
    metrics: dict[str, float] = {}
    counts: dict[str, int] = defaultdict(int)
    for kind, drawn in prompts.items():
        if not drawn:
            continue
        read = understand_all(encoder, tokenizer, tags, drawn)
        metrics[kind] = _share(read, lambda u: u.right)
        for u in read:
            counts["wishes"] += u.kept + u.turned
            counts["kept"] += u.kept
            counts["reversed"] += u.reversed
            counts["prompts"] += bool(u.prompt.spans)
    metrics["polarity"] = counts["kept"] / max(1, counts["wishes"])
    metrics["reversed"] = counts["reversed"] / max(1, counts["prompts"])
    return metrics


def by_wishes(prompts: Sequence[LabelledPrompt]) -> dict[str, list[LabelledPrompt]]:
    """Prompts by what they wish for: the kinds of :func:`draw_prompts`, and ``several`` for more wishes than two."""
    kinds: dict[str, list[LabelledPrompt]] = defaultdict(list)
    for prompt in prompts:
        kinds[_KINDS.get((len(prompt.asked), len(prompt.refused)), "several")].append(prompt)
    return dict(kinds)


def _share(read: Sequence[Understood], holds: Callable[[Understood], bool]) -> float:
    return sum(map(holds, read)) / len(read)
