# Which users are asked what in the test, and in which words. Nothing here is ranked.
"""The four evaluation tasks as lists of queries, and the wordings their prompts come in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dpr_train.prompts import LabelledPrompt, PromptGrammar, load_corpus, without_words
from dpr_train.tasks import recent_tag_counts, refused_tag, wanted_tag

__all__ = ["TASKS", "TaskQueries", "Wording", "make_tasks", "make_wordings", "queries_of"]

IntArray = npt.NDArray[np.int64]

TASKS = ("standard", "positive", "negative", "compound")


@dataclass(frozen=True)
class TaskQueries:
    """Queries of one task: which users take part, and the tag that each asks for and refuses (-1 for none).

    Users whose history and target offer no such tag are left out.
    """

    name: str
    users: IntArray
    asked: IntArray
    refused: IntArray

    def __len__(self) -> int:
        return len(self.users)


def make_tasks(
    histories: Sequence[IntArray], targets: IntArray, tag_matrix: npt.NDArray[np.bool_]
) -> list[TaskQueries]:
    """Derive every task's queries from the users' histories and targets.

    Parameters
    ----------
    histories : sequence of int64 arrays
        Item rows before each target.
    targets : int64 (U,)
        Item rows.
    tag_matrix : bool (N, G)
        Which item has which tag.

    Returns
    -------
    list of TaskQueries
        In the order of ``TASKS``.
    """
    frequency = tag_matrix.sum(0, dtype=np.int64)
    wanted = np.full(len(targets), -1, dtype=np.int64)
    refused = np.full(len(targets), -1, dtype=np.int64)
    for user, (history, target) in enumerate(zip(histories, targets, strict=True)):
        counts = recent_tag_counts(history, tag_matrix)
        asked_for = wanted_tag(tag_matrix[target], counts, frequency)
        turned_down = refused_tag(tag_matrix[target], counts)
        wanted[user] = -1 if asked_for is None else asked_for
        refused[user] = -1 if turned_down is None else turned_down
    return queries_of(wanted, refused)


def queries_of(asked: IntArray, refused: IntArray) -> list[TaskQueries]:
    """Queries of the four tasks, from the tag that each user may ask for and the one that each may refuse.

    Parameters
    ----------
    asked, refused : int64 (U,)
        -1 for a user without such a tag.

    Returns
    -------
    list of TaskQueries
        In the order of ``TASKS``.
    """
    nothing = np.full(len(asked), -1, dtype=np.int64)
    parts = {
        "standard": (np.ones(len(asked), dtype=np.bool_), nothing, nothing),
        "positive": (asked >= 0, asked, nothing),
        "negative": (refused >= 0, nothing, refused),
        "compound": ((asked >= 0) & (refused >= 0), asked, refused),
    }
    tasks = []
    for name, (chosen, wanted, turned_down) in parts.items():
        users = np.flatnonzero(chosen)
        tasks.append(TaskQueries(name, users, wanted[users], turned_down[users]))
    return tasks


@dataclass(frozen=True)
class Wording:
    """One way to word the prompts: training templates and words, or some that no training read."""

    name: str
    grammar: PromptGrammar
    meaning: float = 0.0

    def prompts(self, task: TaskQueries, seed: int) -> list[str]:
        """The texts of :meth:`draw`."""
        return [prompt.text for prompt in self.draw(task, seed)]

    def draw(self, task: TaskQueries, seed: int) -> list[LabelledPrompt]:
        """One prompt a query, the same ones for the same seed, with labels and families."""
        rng = np.random.default_rng([seed, TASKS.index(task.name)])
        return [self._prompt(int(a), int(r), rng) for a, r in zip(task.asked, task.refused, strict=True)]

    def _prompt(self, asked: int, refused: int, rng: np.random.Generator) -> LabelledPrompt:
        if asked >= 0 and refused >= 0:
            return self.grammar.compound(rng, [asked], [refused])
        return self.grammar.single(rng, max(asked, refused), refuse=refused >= 0, meaning=self.meaning)


def make_wordings(tags: Sequence[str]) -> list[Wording]:
    """Wordings of the evaluation: ``seen`` in training; ``unseen families`` of idioms, known words; ``unseen words``.

    ``unseen words`` are idioms of unseen families, too; they name tags by words that training never used where there
    are any, and in one of four single wishes do not name the tag at all. The unseen wording was written apart and is
    frozen.
    """
    seen, test = load_corpus(), load_corpus("test")
    return [
        Wording("seen", PromptGrammar(seen, tags)),
        Wording("unseen families", PromptGrammar(test, tags, words=seen)),
        Wording("unseen words", PromptGrammar(test, tags, words=without_words(test, seen)), meaning=0.25),
    ]
