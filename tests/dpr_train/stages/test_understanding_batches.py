# What a step of stage 2 reads: the same batches wherever they are drawn, and labels that fit their prompts.

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from dpr_train.prompt_encoder import load_tokenizer
from dpr_train.prompts import PromptGrammar, load_corpus
from dpr_train.prompts.universe import make_universe
from dpr_train.stages.understanding_batches import Batch, BatchDrawer, BatchSource
from dpr_train.understanding import ASKED, NO_WISH, REFUSED
from tiny_model import LONGEST

TAGS = ("Comedy", "Horror", "War", "Western")


@pytest.fixture(scope="module")
def drawer(encoder_folder: Path) -> BatchDrawer:
    corpus = load_corpus("validation")
    return BatchDrawer(PromptGrammar(corpus, TAGS), load_tokenizer(encoder_folder, LONGEST), (0, 1), 12)


def batches(drawer: BatchDrawer, workers: int, steps: int) -> list[Batch]:
    with BatchSource(drawer, workers) as source:
        return list(source.batches(np.random.default_rng(5), steps))


def test_batches_do_not_depend_on_who_draws_them(drawer: BatchDrawer) -> None:
    here, there = batches(drawer, 0, 35), batches(drawer, 2, 35)
    assert len(here) == len(there) == 35
    for ours, theirs in zip(here, there, strict=True):
        for field in fields(Batch):
            np.testing.assert_array_equal(getattr(ours, field.name), getattr(theirs, field.name))
    assert not np.array_equal(here[0].ids, here[16].ids)  # another group, another seed


def test_labels_of_a_batch_agree_with_each_other(drawer: BatchDrawer) -> None:
    seen = 0
    for batch in batches(drawer, 0, 8):
        size, length = batch.ids.shape
        assert size == 12
        assert batch.said.shape == (size, len(batch.tags), 3)
        assert batch.named.shape == batch.known.shape == (size, len(batch.tags), length)
        assert {0, 1} <= set(batch.tags.tolist()) <= set(range(len(TAGS)))
        assert ((batch.classes == -1) == (batch.mask == 0)).all()
        assert not batch.named[~batch.known].any()
        for row, role, shares in zip(
            batch.content_rows, batch.content_roles, batch.content_tags, strict=True
        ):
            wanted = batch.said[row, :, (ASKED, REFUSED)[role]]
            np.testing.assert_allclose(shares, wanted / wanted.sum(), rtol=1e-6)
            if length < LONGEST:  # else its words may be cut off
                assert (batch.classes[row] == (ASKED, REFUSED)[role]).any()
            seen += 1
        contents = set(zip(batch.content_rows.tolist(), batch.content_roles.tolist(), strict=True))
        assert contents == {(r, c - ASKED) for r, c in np.argwhere(batch.said.any(1)) if c != NO_WISH}
    assert seen > 30


def test_prompts_of_like_length_share_a_batch_and_are_whole(drawer: BatchDrawer) -> None:
    drawn = batches(drawer, 0, 16)
    assert np.mean([1 - batch.mask.mean() for batch in drawn]) < 0.1
    ends = drawer.tokenizer.token_to_id("[SEP]")
    for batch in drawn:
        last = batch.mask.sum(1) - 1
        assert (batch.ids[np.arange(len(last)), last] == ends).all()


def test_a_batch_is_compared_with_its_own_tags_the_best_known_and_some_others(encoder_folder: Path) -> None:
    corpus = load_corpus()
    universe = make_universe(corpus)
    tokenizer = load_tokenizer(encoder_folder, LONGEST)
    drawer = BatchDrawer(universe.grammar(corpus), tokenizer, universe.always, 4)
    spoken = drawer.draw(3, 1)[0]
    wished = set(spoken.tags[spoken.said.any((0, 2))].tolist())
    others = set(spoken.tags.tolist()) - wished - set(universe.always)
    assert set(universe.always) <= set(spoken.tags.tolist())
    assert 10 < len(others) <= 24
    assert spoken.tags.tolist() == sorted(set(spoken.tags.tolist()))
    assert spoken.tags.tolist() != drawer.draw(4, 1)[0].tags.tolist()
