# Everything that one checkpoint is put through, and what becomes of several of them together.
"""Examine a checkpoint; summarise several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from dpr_bench.kernel_progress import Watch
from dpr_bench.quality.cold_items import cold_probe
from dpr_bench.quality.comparison import Comparison, compare
from dpr_bench.quality.language_sample import Rerank, language_sample
from dpr_bench.quality.neutral_and_strict import neutral_prompts, strict_steering
from dpr_bench.quality.strength_curve import strength_curve
from dpr_bench.quality.subject import Items, make_subject
from dpr_bench.quality.summary import mean_over_seeds, summarise
from dpr_bench.quality.text_probe import text_probe, text_summary
from dpr_bench.quality.tuning import Weights, tune
from dpr_bench.quality.understanding import PromptRecord, draw_all
from dpr_bench.quality.understanding_tables import (
    of_catalogue,
    of_wordings,
    of_zero_shot,
    understanding_document,
)
from dpr_train.checkpoint import Checkpoint
from dpr_train.data import LeaveOneOut
from dpr_train.evaluate import make_wordings
from dpr_train.item_texts import TextEmbedder

__all__ = ["Examination", "examine", "summarise_examinations"]

_UNSEEN = "unseen families"
_PROMPTED = ("positive", "negative", "compound")


@dataclass(frozen=True)
class Examination:
    """What one checkpoint gave.

    Parameters
    ----------
    seed : int
        Of its training.
    weights : Weights
        Chosen on validation.
    comparison : Comparison
        All systems on all queries.
    catalogue, zero_shot, wordings
        Records of prompts as they were understood.
    probes : dict
        Sections whose numbers are averaged over seeds.
    texts : dict
        Of :func:`text_probe`.
    """

    seed: int
    weights: Weights
    comparison: Comparison
    catalogue: list[PromptRecord]
    zero_shot: dict[str, list[PromptRecord]]
    wordings: dict[str, list[PromptRecord]]
    probes: dict[str, Any]
    texts: dict[str, Any]


@torch.no_grad()
def examine(
    checkpoint: Checkpoint,
    items: Items,
    embed: TextEmbedder,
    split: LeaveOneOut,
    watch: Watch,
    *,
    rerank: Rerank | None = None,
    sampled: int = 0,
) -> Examination:
    """Put one checkpoint through everything.

    Parameters
    ----------
    checkpoint : Checkpoint
        Loaded.
    items : Items
        Its catalogue.
    embed : TextEmbedder
        The frozen sentence encoder.
    split : LeaveOneOut
        Its users.
    watch : Watch
        Is told what is done.
    rerank : callable, optional
        A language model that orders titles by a prompt.
    sampled : int
        Queries of each task that it is tried on.
    """
    watch.step("reading histories")
    histories = [split.test_history(user) for user in range(len(split))]
    subject = make_subject(checkpoint, items, embed, histories, split.test)
    seen, families, words = make_wordings(checkpoint.model.config.tags)
    watch.step("choosing weights on validation")
    weights = tune(subject.on(split.train, split.validation), seen)
    found = compare(
        subject, (seen, families, words), families.grammar, weights, watch, keep={_UNSEEN: _PROMPTED}
    )
    unseen = {task: found.kept[task, _UNSEEN] for task in _PROMPTED if (task, _UNSEEN) in found.kept}
    watch.step("understanding")
    catalogue = of_catalogue(subject, families.grammar, seen.grammar)
    zero_shot = of_zero_shot(subject)
    wordings = of_wordings(subject, (seen, families, words))
    probes: dict[str, Any] = {}
    watch.step("neutral prompts")
    probes["neutral"] = neutral_prompts(subject, families.grammar)
    watch.step("strict steering")
    probes["strict"] = strict_steering(
        subject, draw_all(families.grammar, np.random.default_rng([subject.seed, 43]))
    )
    watch.step("strength")
    probes["strength"] = strength_curve(subject, {t: unseen[t] for t in _PROMPTED[:2] if t in unseen})
    watch.step("cold items")
    probes["cold"] = cold_probe(subject, seen)
    watch.step("wishes about texts")
    texts = text_probe(
        subject,
        {"ask": weights.additive.get("positive", 0.0), "refuse": weights.additive.get("negative", 0.0)},
    )
    if rerank is not None:
        probes["language_model"] = language_sample(subject, unseen, sampled, rerank, watch)
    found.kept.clear()  # they hold every token of every prompt
    return Examination(subject.seed, weights, found, catalogue, zero_shot, wordings, probes, texts)


def summarise_examinations(found: Sequence[Examination]) -> dict[str, Any]:
    """The sections of the results, over all checkpoints.

    Parameters
    ----------
    found : sequence of Examination
        At least one.

    Raises
    ------
    ValueError
        If the checkpoints cannot be averaged.
    """
    sections: dict[str, Any] = {
        "rows": summarise([one.comparison for one in found]),
        "weights": [{"seed": one.seed, **asdict(one.weights)} for one in found],
        "understanding": understanding_document(
            [record for one in found for record in one.catalogue],
            _joined([one.zero_shot for one in found]),
            _joined([one.wordings for one in found]),
        ),
    }
    for name in found[0].probes:
        documents = [one.probes[name] for one in found]
        worst = [document.pop("worst", None) for document in documents]  # a list of its own for each seed
        sections[name] = mean_over_seeds(documents)
        if worst[0] is not None:
            sections[name]["worst"] = worst[0]
    sections["text_wishes"] = {
        "summary": text_summary([one.texts for one in found]),
        "by_seed": [{"seed": one.seed, **one.texts} for one in found],
    }
    return sections


def _joined(records: Sequence[dict[str, list[PromptRecord]]]) -> dict[str, list[PromptRecord]]:
    return {name: [r for one in records for r in one[name]] for name in records[0]}
