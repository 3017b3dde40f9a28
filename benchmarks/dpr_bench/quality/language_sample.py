# A language model is too slow for every query: it orders the backbone's best items for a sample of them, and the others
# are measured on that sample, too.
"""A small language model as re-ranker, on a sample of queries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dpr_bench.kernel_progress import Watch
from dpr_bench.quality.comparison import Steered
from dpr_bench.quality.prompt_reading import Steering
from dpr_bench.quality.ranking import METRICS, measure
from dpr_bench.quality.subject import Subject
from dpr_bench.quality.systems import System, backbone, exact_filter, filter_inside_top, steered
from dpr_train.evaluate import TaskQueries

__all__ = ["SHOWN", "Rerank", "language_sample", "language_system"]

IntArray = npt.NDArray[np.int64]
Rerank = Callable[[str, list[str]], list[int]]

SHOWN = 20  # items that the language model is shown


def language_sample(
    subject: Subject, tasks: Mapping[str, Steered], size: int, rerank: Rerank, watch: Watch
) -> dict[str, Any]:
    """Measure the language model and, on the very same queries, the systems it competes with.

    Parameters
    ----------
    subject : Subject
        The model and its users.
    tasks : mapping of str to Steered
        Queries by task.
    size : int
        Queries of each task.
    rerank : callable
        From a prompt and titles to numbers of titles, the best first; those it leaves out follow in their old order.
    watch : Watch
        Is told what is done.

    Returns
    -------
    dict
        By task: ``queries``, and by system the metrics, history masked.
    """
    document: dict[str, Any] = {"shown": SHOWN, "tasks": {}}
    for name, ready in tasks.items():
        watch.step(f"{name}: language model")
        rng = np.random.default_rng([subject.seed, 41])
        chosen = np.sort(rng.choice(len(ready.task), min(size, len(ready.task)), replace=False))
        task = TaskQueries(
            name, ready.task.users[chosen], ready.task.asked[chosen], ready.task.refused[chosen]
        )
        steering = Steering(ready.steering.experts[chosen], ready.steering.gates[chosen])
        texts = [ready.read.texts[i] for i in chosen]
        systems = [
            backbone(),
            exact_filter(subject.items.tags, task),
            filter_inside_top(subject.items.tags, task, SHOWN),
            language_system(subject, texts, rerank, watch),
            steered(subject, steering, users=task.users),
        ]
        document["tasks"][name] = {
            "queries": len(task),
            "systems": {system.name: _figures(subject, task, system) for system in systems},
        }
    return document


def language_system(subject: Subject, texts: Sequence[str], rerank: Rerank, watch: Watch) -> System:
    """The backbone's best twenty in the order that a language model gives them."""

    def score(part: slice, plain: Tensor) -> Tensor:
        scores = plain.clone()
        best = torch.topk(plain, min(SHOWN, plain.shape[1]), dim=1)
        for row, text in enumerate(texts[part]):
            watch.tick(row + 1, len(texts[part]))
            items = [
                i
                for i, s in zip(best.indices[row].tolist(), best.values[row].tolist(), strict=True)
                if s > float("-inf")
            ]
            order = _whole(rerank(text, [subject.items.titles[i] for i in items]), len(items))
            top = float(best.values[row, 0])
            for place, number in enumerate(order):
                scores[row, items[number]] = top + len(order) - place
        return scores

    return System(f"language model on top {SHOWN}", score, by_rank=True)


def _whole(order: Sequence[int], count: int) -> list[int]:
    """The order with what is missing behind it, and nothing twice or out of range."""
    named = [number for number in dict.fromkeys(order) if 0 <= number < count]
    return named + [number for number in range(count) if number not in set(named)]


def _figures(subject: Subject, task: TaskQueries, system: System) -> dict[str, float | None]:
    values = measure(subject, task, system).masked.values
    return {name: None if np.isnan(values[name]).any() else float(values[name].mean()) for name in METRICS}
