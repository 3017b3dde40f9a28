# What a step of stage 2 reads: drawn prompts, and everything that its losses compare with, as arrays. Drawing needs the
# interpreter and no device, so processes beside the training may do it.
"""Batches of generated prompts with their labels."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from types import TracebackType

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding, Tokenizer

from dpr_train.prompt_encoder import pad_encodings
from dpr_train.prompts import LabelledPrompt, PromptGrammar
from dpr_train.stages.token_labels import class_labels, match_labels, wish_labels

__all__ = ["Batch", "BatchDrawer", "BatchSource"]

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

_EXTRA_TAGS = 24  # tags that no prompt of the batch speaks of, to be told apart from those that one does
_GROUP = 16  # batches drawn together, so that prompts of like length share one
_AHEAD = 2  # groups that each process is ahead


@dataclass(frozen=True)
class Batch:
    """B prompts of T tokens at most, compared with G tags.

    Parameters
    ----------
    ids, mask : int64 (B, T)
        Tokens, and 0 on padding.
    classes : int64 (B, T)
        Class of every token, -1 on padding.
    tags : int64 (G,)
        Numbers of the tags.
    said : bool (B, G, 3)
        What each prompt says of each tag: released, asked, refused.
    named, known : bool (B, G, T)
        Which token names which tag, and where that is known.
    content_rows, content_roles : int64 (R,)
        Row and role (0 asks, 1 refuses) of every content that is wished for.
    content_tags : float32 (R, G)
        Its tags, as shares of 1.
    """

    ids: IntArray
    mask: IntArray
    classes: IntArray
    tags: IntArray
    said: BoolArray
    named: BoolArray
    known: BoolArray
    content_rows: IntArray
    content_roles: IntArray
    content_tags: npt.NDArray[np.float32]


@dataclass(frozen=True)
class BatchDrawer:
    """Draws batches; the same seed gives the same ones in any process.

    Parameters
    ----------
    grammar : PromptGrammar
        Draws prompts.
    tokenizer : Tokenizer
        The encoder's.
    always : sequence of int
        Tags that every prompt is compared with.
    batch_size : int
        Prompts a batch.
    """

    grammar: PromptGrammar
    tokenizer: Tokenizer
    always: Sequence[int]
    batch_size: int

    def draw(self, seed: int, count: int) -> list[Batch]:
        """Draw ``count`` batches of prompts of like length: mixed ones are padded to three times their content."""
        rng = np.random.default_rng(seed)
        prompts = [self.grammar.draw(rng) for _ in range(count * self.batch_size)]
        encodings = self.tokenizer.encode_batch([p.text for p in prompts])
        by_length = sorted(range(len(prompts)), key=lambda i: len(encodings[i].ids))
        drawn = []
        for batch in rng.permutation(count):
            rows = by_length[batch * self.batch_size : (batch + 1) * self.batch_size]
            drawn.append(self._label([encodings[i] for i in rows], [prompts[i] for i in rows], rng))
        return drawn

    def _label(
        self, encodings: Sequence[Encoding], prompts: Sequence[LabelledPrompt], rng: np.random.Generator
    ) -> Batch:
        ids, mask = pad_encodings(encodings)
        length = ids.shape[1]
        tags = self._candidates(prompts, rng)
        named, known = match_labels(encodings, prompts, tags, length)
        return Batch(
            ids,
            mask,
            class_labels(encodings, prompts, length),
            np.array(tags, dtype=np.int64),
            wish_labels(prompts, tags),
            named,
            known,
            *_contents(prompts, tags),
        )

    def _candidates(self, prompts: Sequence[LabelledPrompt], rng: np.random.Generator) -> list[int]:
        """Tags that a batch is compared with: those wished for, those always there, some that nobody speaks of."""
        wished = {span.tag for prompt in prompts for span in prompt.spans if span.tag >= 0}
        extra = rng.integers(len(self.grammar.tags), size=_EXTRA_TAGS)
        return sorted(wished | set(self.always) | {int(tag) for tag in extra})


class BatchSource:
    """Gives batches in an order that depends on the generator alone, however many processes draw them.

    Parameters
    ----------
    drawer : BatchDrawer
        Draws.
    workers : int
        Processes beside this one that draw; 0 draws in this one. A context manager, which ends them.
    """

    def __init__(self, drawer: BatchDrawer, workers: int) -> None:
        self._drawer = drawer
        self._workers = workers
        self._pool = (
            ProcessPoolExecutor(
                workers, mp_context=get_context("spawn"), initializer=_remember, initargs=(drawer,)
            )
            if workers
            else None
        )

    def __enter__(self) -> BatchSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def batches(self, rng: np.random.Generator, steps: int) -> Iterator[Batch]:
        """Give ``steps`` batches, drawn in groups whose seeds come from ``rng``."""
        sizes = [min(_GROUP, steps - done) for done in range(0, steps, _GROUP)]
        groups = [
            (int(seed), size) for seed, size in zip(rng.integers(2**62, size=len(sizes)), sizes, strict=True)
        ]
        if self._pool is None:
            for seed, size in groups:
                yield from self._drawer.draw(seed, size)
            return
        waiting = deque[Future[list[Batch]]]()
        for seed, size in groups:
            waiting.append(self._pool.submit(_draw, seed, size))
            if len(waiting) > self._workers * _AHEAD:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


_remembered: list[BatchDrawer] = []  # of a process that draws


def _remember(drawer: BatchDrawer) -> None:
    _remembered[:] = [drawer]


def _draw(seed: int, count: int) -> list[Batch]:
    return _remembered[0].draw(seed, count)


def _contents(
    prompts: Sequence[LabelledPrompt], tags: Sequence[int]
) -> tuple[IntArray, IntArray, npt.NDArray[np.float32]]:
    """Rows, roles and tags of all contents that are wished for."""
    column = {tag: g for g, tag in enumerate(tags)}
    wished = [
        (row, role, [column[tag] for tag in of_role])
        for row, prompt in enumerate(prompts)
        for role, of_role in enumerate((prompt.asked, prompt.refused))
        if of_role
    ]
    shares = np.zeros((len(wished), len(tags)), dtype=np.float32)
    for place, (_, _, columns) in enumerate(wished):
        shares[place, columns] = 1 / len(columns)
    rows, roles = (np.array([entry[i] for entry in wished], dtype=np.int64) for i in (0, 1))
    return rows, roles, shares
