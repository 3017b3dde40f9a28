# Prompts of one length that are read together, and the engines beside which they must not be.

from __future__ import annotations

import numpy as np
import pytest

from dpr_infer import EngineError, Query, QueryError, Recommender
from dpr_infer.prompt_encoding import TOGETHER as SIZES
from dpr_infer.prompt_encoding import PromptEncoding

TOGETHER = max(SIZES)
WORDS = ("comedy", "war", "drama", "action", "film", "please", "and", "not")  # that the tokenizer knows
NEW = [f"{first} {second}" for first in WORDS for second in WORDS]  # all of one length
TAGS = np.zeros((2, 3), np.float32)


class Doubler:
    """Gives ids doubled; what is wrong with it shows in a batch."""

    providers, on_cpu = ("Doubler",), True

    def __init__(self, wrong_for=()):
        self.wrong_for = wrong_for
        self.sizes = []

    def run(self, feed):
        ids = feed["input_ids"]
        assert feed["attention_mask"].all()
        self.sizes.append(len(ids))
        doubled = ids[..., None].astype(np.float32) * 2
        if len(ids) > 1 and ids.shape[1] in self.wrong_for:
            doubled[-1, -1] = np.nextafter(doubled[-1, -1], np.float32(np.inf))
        return [doubled, doubled.sum(axis=1)]


def ids_of(count, length, first=1):
    return [tuple(range(first + b, first + b + length)) for b in range(count)]


def check(encoding, prompts):
    alone = PromptEncoding(Doubler(), TAGS)
    for got, ids in zip(encoding.all(prompts), prompts, strict=True):
        assert [part.tobytes() for part in got] == [part.tobytes() for part in alone.alone(ids)]
        assert all(part.shape[0] == 1 and part.base is None for part in got)


def test_the_first_of_a_length_are_compared_and_later_ones_read_together():
    engine = Doubler()
    encoding = PromptEncoding(engine, TAGS)
    check(encoding, ids_of(TOGETHER, 4))
    assert engine.sizes == [1] * TOGETHER + [TOGETHER]
    engine.sizes.clear()
    check(encoding, ids_of(2 * TOGETHER + 1, 4, first=50))
    assert engine.sizes == [TOGETHER, TOGETHER, 1]
    engine.sizes.clear()
    check(encoding, ids_of(TOGETHER, 5))  # another length is another matter
    assert engine.sizes == [1] * TOGETHER + [TOGETHER]


def test_lengths_do_not_mix_and_few_prompts_come_in_smaller_groups():
    engine = Doubler()
    encoding = PromptEncoding(engine, TAGS)
    check(encoding, [*ids_of(7, 4), *ids_of(1, 5)])
    assert engine.sizes == [1] * 4 + [4] + [1] * 2 + [2] + [1, 1]  # each size is compared for itself
    engine.sizes.clear()
    check(encoding, [*ids_of(15, 4, first=50), *ids_of(2, 5)])
    assert engine.sizes == [1] * 8 + [8] + [4, 2, 1] + [1] * 2 + [2]


def test_a_size_that_differs_is_found_at_whatever_size_comes_first():
    engine = Doubler(wrong_for=(5,))
    encoding = PromptEncoding(engine, TAGS)
    check(encoding, ids_of(2, 5))
    assert engine.sizes == [1, 1, 2]
    check(encoding, ids_of(9, 4))
    assert engine.sizes == [1, 1, 2] + [1] * 9


def test_after_one_bit_of_difference_nothing_is_read_together_any_more():
    engine = Doubler(wrong_for=(5,))
    encoding = PromptEncoding(engine, TAGS)
    check(encoding, [*ids_of(TOGETHER, 4), *ids_of(TOGETHER, 5), *ids_of(TOGETHER, 4, first=90)])
    engine.sizes.clear()
    check(encoding, [*ids_of(TOGETHER, 4), *ids_of(TOGETHER, 5), *ids_of(TOGETHER, 6)])
    assert set(engine.sizes) == {1}


def test_an_accelerator_gets_one_prompt_at_a_time():
    engine = Doubler()
    engine.on_cpu = False
    check(PromptEncoding(engine, TAGS), ids_of(3 * TOGETHER, 4))
    assert set(engine.sizes) == {1}


def test_equal_prompts_are_read_once_and_prove_nothing():
    engine = Doubler(wrong_for=(4,))
    check(PromptEncoding(engine, TAGS), ids_of(1, 4) * (2 * TOGETHER))
    assert engine.sizes == [1]


@pytest.fixture(scope="module")
def alone(bundle_path):
    recommender = Recommender(bundle_path)
    return [recommender.query([], prompt) for prompt in NEW]


def assert_same(got, want):
    assert got.rows.tolist() == want.rows.tolist()
    assert got.wishes == want.wishes
    assert got.prompt_cached == want.prompt_cached


def reading_bits(recommender, prompt):
    reading = recommender._pipeline.read_prompt(prompt)
    return [part.tobytes() for part in (reading.tokens, reading.wish, reading.released)]


@pytest.mark.parametrize("cache", [1024, 0])
def test_new_prompts_of_a_batch_are_understood_as_they_are_alone(bundle_path, alone, cache):
    recommender, other = (Recommender(bundle_path, prompt_cache_size=cache) for _ in range(2))
    sizes = watched(recommender)
    half = len(NEW) // 2
    for part in (slice(0, half), slice(half, None)):  # compared, and not compared any more
        for got, want in zip(recommender.query_batch([[]] * half, NEW[part]), alone[part], strict=True):
            assert_same(got, want)
    assert TOGETHER in sizes
    for prompt in NEW[::7] if cache else ():
        assert reading_bits(recommender, prompt) == reading_bits(other, prompt)


def test_turns_are_read_together_too(bundle_path, alone):
    recommender = Recommender(bundle_path)
    sizes = watched(recommender)
    prompts = [["drama", prompt] for prompt in NEW[:-1]]
    answers = recommender.query_each([Query(prompt=prompt) for prompt in prompts])
    assert sizes.count(TOGETHER) >= 2
    assert not answers[0].prompt_cached
    one = Recommender(bundle_path)
    for prompt, got in zip(prompts, answers, strict=True):
        assert got.rows.tolist() == one.query([], prompt).rows.tolist()


def test_what_was_said_before_or_twice_comes_from_the_cache(bundle_path):
    recommender = Recommender(bundle_path)
    recommender.query([], NEW[0])
    sizes = watched(recommender)
    answers = recommender.query_batch([[]] * 20, [NEW[0], *NEW[:18], NEW[17]])
    assert [answer.prompt_cached for answer in answers] == [True, True] + [False] * 17 + [True]
    assert sizes == [1] * TOGETHER + [TOGETHER] * 2 + [1]  # the first group twice, to be compared


def test_a_prompt_that_cannot_be_read_harms_no_other(bundle_path, alone):
    recommender = Recommender(bundle_path)
    asked = [Query(prompt=prompt) for prompt in NEW[:20]]
    asked[3], asked[5] = Query(prompt="a\x00b"), Query(prompt=["fine", 7])
    answers = recommender.query_each(asked)
    assert [b for b, answer in enumerate(answers) if isinstance(answer, QueryError)] == [3, 5]
    assert_same(answers[19], alone[19])
    with pytest.raises(QueryError, match="control characters"):
        recommender.query_batch([[]] * 20, [*NEW[:19], "a\x00b"])


def test_an_engine_that_fails_on_one_prompt_fails_that_one(bundle_path, monkeypatch):
    recommender = Recommender(bundle_path)
    engine = recommender._pipeline._encoder.reader._encoding._engine
    run, reader = engine.run, recommender._pipeline._encoder.reader
    bad = reader._tokenizer.encode(NEW[4])[0]

    def failing(feed):
        if bad in feed["input_ids"].tolist():
            raise EngineError("no")
        return run(feed)

    monkeypatch.setattr(engine, "run", failing)
    answers = recommender.query_each([Query(prompt=prompt) for prompt in NEW[:20]])
    assert [b for b, answer in enumerate(answers) if isinstance(answer, EngineError)] == [4]


def watched(recommender):
    """Batch sizes of the prompt encoder's calls from now on."""
    engine, sizes = recommender._pipeline._encoder.reader._encoding._engine, []
    run = engine.run

    def remember(feed):
        sizes.append(len(feed["input_ids"]))
        return run(feed)

    engine.run = remember
    return sizes
