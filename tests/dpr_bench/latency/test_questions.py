# Who is asked about, and with which prompts.
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dpr_bench.latency.contenders import Models
from dpr_bench.latency.pipeline import KeptPrompts
from dpr_bench.latency.questions import FreshPrompts, Questions, ask_users
from dpr_infer.bundle import open_bundle
from dpr_train.checkpoint import Checkpoint, CheckpointError, load_checkpoint
from dpr_train.data import load_dataset


@pytest.fixture
def checkpoint(models: Models) -> Checkpoint:
    """The tiny checkpoint, as if it had been trained on the synthetic data set of the command line."""
    loaded = load_checkpoint(models.checkpoint)
    record = {"dataset": "synthetic", "data_sha256": load_dataset("synthetic").source_sha256}
    return replace(loaded, training=loaded.training | record)


def test_histories_are_those_of_the_users(checkpoint: Checkpoint, models: Models):
    bundle = open_bundle(models.float32)
    asked = ask_users(checkpoint, bundle, dataset=None, source=None, cache_dir=None)
    data = load_dataset("synthetic")
    assert len(asked.histories) == data.n_users
    expected = sorted([data.items.ids[row] for row in sequence[:-1]] for sequence in data.sequences)
    assert sorted(map(list, asked.histories)) == expected
    lengths = [len(sequence) - 1 for sequence in data.sequences]
    described = asked.describe()
    assert described["lengths"]["p50"] == int(np.median(lengths))
    assert described["longer_than_limit"] == np.mean(np.array(lengths) > bundle.manifest.history_limit)


def test_other_data_are_refused(checkpoint: Checkpoint, models: Models):
    other = replace(checkpoint, training=checkpoint.training | {"data_sha256": "0" * 64})
    with pytest.raises(CheckpointError, match="trained on data with checksum 000"):
        ask_users(other, open_bundle(models.float32), dataset=None, source=None, cache_dir=None)


def test_batches_pair_histories_and_prompts_in_turn():
    asked = Questions(histories=[["a"], ["b"], ["c"]], prompts=["x", "y"], limit=5, source="here")
    assert asked.batches(2, 2) == [([["a"], ["b"]], ["x", "y"]), ([["c"], ["a"]], ["x", "y"])]
    assert asked.batches(1, 2, ["new"]) == [([["a"]], ["new"]), ([["b"]], ["new"])]


def test_fresh_prompts_are_new_and_say_the_same(questions: Questions, models: Models):
    fresh = FreshPrompts(questions.prompts)
    taken = fresh.take(100) + fresh.take(100)
    assert len(set(taken) | set(questions.prompts)) == 200 + len(questions.prompts)
    tokenizer = load_checkpoint(models.checkpoint).tokenizer
    pool = questions.prompts
    for number, text in enumerate(taken):
        assert tokenizer.encode(text).ids == tokenizer.encode(pool[number % len(pool)]).ids


def test_kept_prompts_are_read_once_and_the_oldest_goes():
    read: list[list[str]] = []

    def answer(texts: list[str]) -> list[str]:
        read.append(texts)
        return [text.upper() for text in texts]

    kept: KeptPrompts[str] = KeptPrompts(answer, size=2)
    assert kept.get(["a", "b", "a"]) == ["A", "B", "A"]
    assert kept.get(["b", "c"]) == ["B", "C"]  # "a" was used last before "b": it goes
    assert kept.get(["c", "b", "a"]) == ["C", "B", "A"]
    assert read == [["a", "b"], ["c"], ["a"]]


def test_a_bundle_without_examples_is_refused(models: Models, tmp_path: Path):
    from dpr_bench.latency.questions import ask_examples

    bundle = open_bundle(models.float32)
    with pytest.raises(ValueError, match="must have example histories"):
        ask_examples(replace(bundle, examples={}))
