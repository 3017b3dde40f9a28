# Which system is measured on which queries, for one checkpoint.
"""Run every system on every task, choice of tags and wording."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dpr_bench.kernel_progress import Watch
from dpr_bench.quality.prompt_reading import ReadPrompts, Steering, read_prompts, steer
from dpr_bench.quality.queries import CHOICES, make_queries
from dpr_bench.quality.ranking import Measured, measure
from dpr_bench.quality.subject import Subject
from dpr_bench.quality.systems import (
    System,
    additive,
    backbone,
    boost,
    exact_filter,
    filter_inside_top,
    steered,
    text_rerank,
    text_retrieval,
    understood_filter,
)
from dpr_bench.quality.tuning import Weights
from dpr_train.evaluate import TaskQueries, Wording
from dpr_train.prompts import PromptGrammar

__all__ = ["INSIDE", "NEUTRAL", "NO_WORDING", "Comparison", "RowKey", "Steered", "compare"]

INSIDE = (10, 20, 50)
NO_WORDING, NEUTRAL = "-", "neutral prompts"


@dataclass(frozen=True)
class RowKey:
    """A row of the tables; ``choice`` is "hard" or "uniform", ``wording`` is "-" for systems without a prompt."""

    task: str
    choice: str
    system: str
    wording: str


@dataclass(frozen=True)
class Steered:
    """Queries of a task with their prompts, read and fused: later sections use them again."""

    task: TaskQueries
    read: ReadPrompts
    steering: Steering


@dataclass
class Comparison:
    """What one checkpoint gave.

    Parameters
    ----------
    rows : dict of RowKey to Measured
        In the order of the tables.
    families : dict of (task, choice, wording) to tuple of str
        The idiom of each query's prompt.
    kept : dict of (task, wording) to Steered
        Queries with the tag chosen hard.
    """

    rows: dict[RowKey, Measured] = field(default_factory=dict)
    families: dict[tuple[str, str, str], tuple[str, ...]] = field(default_factory=dict)
    kept: dict[tuple[str, str], Steered] = field(default_factory=dict)


def compare(
    subject: Subject,
    wordings: Sequence[Wording],
    neutral: PromptGrammar,
    weights: Weights,
    watch: Watch,
    *,
    keep: Mapping[str, Sequence[str]],
) -> Comparison:
    """Measure everything that the main tables show.

    Parameters
    ----------
    subject : Subject
        On the test split.
    wordings : sequence of Wording
        Of the prompts.
    neutral : PromptGrammar
        Draws the neutral prompts of the standard task.
    weights : Weights
        Of the baselines that have one.
    watch : Watch
        Is told what is done.
    keep : mapping of str to sequence of str
        By wording the tasks whose steered queries later sections need.
    """
    found = Comparison()
    for choice in CHOICES:
        tasks = make_queries(
            choice, subject.histories, subject.targets, subject.items.tags, seed=subject.seed
        )
        for task in tasks:
            if not len(task) or (task.name == "standard" and choice != CHOICES[0]):
                continue
            watch.step(f"{task.name}, {choice} tags: systems without a prompt")
            _add(found, subject, task, choice, NO_WORDING, _without_prompt(subject, task, weights))
            if task.name == "standard":
                watch.step("standard: neutral prompts")
                _add(found, subject, task, choice, NEUTRAL, _neutral(subject, task, neutral))
                continue
            for wording in wordings:
                watch.step(f"{task.name}, {choice} tags: {wording.name}")
                prompts = wording.draw(task, subject.seed)
                texts = choice == CHOICES[0]  # the frozen encoder takes as long as all systems together
                read = read_prompts(subject, [p.text for p in prompts], embed=texts)
                ready = Steered(task, read, steer(subject, task.users, read))
                found.families[task.name, choice, wording.name] = tuple(p.family for p in prompts)
                _add(found, subject, task, choice, wording.name, _with_prompt(subject, ready, weights))
                if choice == CHOICES[0] and task.name in keep.get(wording.name, ()):
                    found.kept[task.name, wording.name] = ready
    return found


def _add(
    found: Comparison,
    subject: Subject,
    task: TaskQueries,
    choice: str,
    wording: str,
    systems: Iterator[System],
) -> None:
    for system in systems:
        found.rows[RowKey(task.name, choice, system.name, wording)] = measure(subject, task, system)


def _without_prompt(subject: Subject, task: TaskQueries, weights: Weights) -> Iterator[System]:
    tags = subject.items.tags
    yield backbone()
    if task.name == "standard":
        return
    yield exact_filter(tags, task)
    for k in INSIDE:
        yield filter_inside_top(tags, task, k)
    yield boost(tags, task, weights.boost.get(task.name, 0.0))


def _with_prompt(subject: Subject, ready: Steered, weights: Weights) -> Iterator[System]:
    read, users = ready.read, ready.task.users
    yield understood_filter(subject, read)
    if len(read.embedded):
        yield text_retrieval(subject, read)
        yield text_rerank(subject, read)
        yield additive(subject, read, weights.additive.get(ready.task.name, 0.0))
    yield steered(subject, ready.steering, users=users)
    yield steered(subject, ready.steering, read, users=users)


def _neutral(subject: Subject, task: TaskQueries, grammar: PromptGrammar) -> Iterator[System]:
    rng = np.random.default_rng([subject.seed, 13])
    read = read_prompts(subject, [grammar.neutral(rng).text for _ in range(len(task))], embed=False)
    yield steered(subject, steer(subject, task.users, read), users=task.users)
