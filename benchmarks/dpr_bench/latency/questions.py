# What is asked: real users' histories, as long as they are, and a pool of prompts; and prompts that no cache holds.
"""Queries to time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dpr_bench.serve.workload import make_prompts
from dpr_infer.bundle import Bundle
from dpr_train.checkpoint import Checkpoint, CheckpointError
from dpr_train.data import leave_one_out, load_dataset

__all__ = ["EXAMPLES", "Batch", "FreshPrompts", "Questions", "ask_examples", "ask_users"]

EXAMPLES = "examples"  # in place of a data set: the bundle's own histories
_PROMPTS = 256  # as many as the largest batch; fewer than any cache keeps

Batch = tuple[list[Sequence[str]], list[str]]  # histories and prompts


@dataclass(frozen=True, kw_only=True)
class Questions:
    """Histories and prompts, to be paired in turn.

    Attributes
    ----------
    histories : list of sequence of str
        Item ids, oldest first, in random order.
    prompts : list of str
        All different.
    limit : int
        Items of a history that the backbone reads, the newest.
    source : str
        Whose histories they are.
    """

    histories: list[Sequence[str]]
    prompts: list[str]
    limit: int
    source: str

    def batches(self, size: int, count: int, prompts: Sequence[str] | None = None) -> list[Batch]:
        """Batches of `size` queries; by default with the pool's prompts, in turn."""
        asked = self.prompts if prompts is None else prompts
        return [
            (
                [self.histories[i % len(self.histories)] for i in range(at, at + size)],
                [asked[i % len(asked)] for i in range(at, at + size)],
            )
            for at in range(0, size * count, size)
        ]

    def describe(self) -> dict[str, Any]:
        """Where the histories come from, how many there are, and how long they are, for JSON."""
        lengths = np.array([len(history) for history in self.histories])
        percentiles = np.percentile(lengths, (0, 25, 50, 75, 100)).astype(int).tolist()
        return {
            "source": self.source,
            "histories": len(lengths),
            "lengths": dict(zip(("least", "p25", "p50", "p75", "most"), percentiles, strict=True)),
            "limit": self.limit,
            "longer_than_limit": float(np.mean(lengths > self.limit)),
            "prompts": len(self.prompts),
        }


class FreshPrompts:
    """The pool's prompts with ever more blanks behind them: texts that no cache holds, whose tokens are the same.

    Parameters
    ----------
    prompts : sequence of str
        The pool.
    """

    def __init__(self, prompts: Sequence[str]) -> None:
        self._prompts = prompts
        self._taken = 0

    def take(self, count: int) -> list[str]:
        """So many prompts that were never given before."""
        start, self._taken = self._taken, self._taken + count
        size = len(self._prompts)
        return [self._prompts[i % size] + " " * (1 + i // size) for i in range(start, self._taken)]


def ask_users(
    checkpoint: Checkpoint,
    bundle: Bundle,
    *,
    dataset: str | None,
    source: str | None,
    cache_dir: Path | None,
    seed: int = 0,
) -> Questions:
    """All users of the data that a checkpoint was trained on, with the histories that its test sees.

    Parameters
    ----------
    checkpoint : Checkpoint
        Its record names the data.
    bundle : Bundle
        Its tags make the prompts.
    dataset, source, cache_dir
        As for `load_dataset`; the data set is by default the recorded one.
    seed : int
        Of the order.

    Returns
    -------
    Questions
        One history a user.

    Raises
    ------
    DataError
        If the data cannot be read.
    CheckpointError
        If they are not those that the checkpoint was trained on.
    """
    data = load_dataset(dataset or checkpoint.training["dataset"], cache_dir=cache_dir, source=source)
    expected = checkpoint.training["data_sha256"]
    if data.source_sha256 != expected:
        raise CheckpointError(
            f"the checkpoint was trained on data with checksum {expected}; got {data.name} with {data.source_sha256}"
        )
    split = leave_one_out(data.sequences)
    ids = np.array(data.items.ids, dtype=object)
    order = np.random.default_rng(seed).permutation(len(split))
    histories: list[Sequence[str]] = [ids[split.test_history(int(user))].tolist() for user in order]
    return _questions(bundle, histories, f"all {len(histories):,} users of {data.name}, test split")


def ask_examples(bundle: Bundle) -> Questions:
    """The bundle's example histories; how long they are says nothing about the data.

    Raises
    ------
    ValueError
        If the bundle has none.
    """
    histories: list[Sequence[str]] = list(bundle.examples.values())
    if not histories:
        raise ValueError(f"{bundle.path} must have example histories, to ask about; it has none")
    source = (
        f"the bundle's {len(histories)} examples, whose lengths are not those of the data; a larger batch repeats "
        "them, and dpr-infer alone reads equal histories of a batch once"
    )
    return _questions(bundle, histories, source)


def _questions(bundle: Bundle, histories: list[Sequence[str]], source: str) -> Questions:
    if len(bundle.manifest.tags) < 2:
        raise ValueError(f"{bundle.path} must have two tags, to make prompts of; it has fewer")
    return Questions(
        histories=histories,
        prompts=make_prompts(bundle.manifest.tags, _PROMPTS),
        limit=bundle.manifest.history_limit,
        source=source,
    )
