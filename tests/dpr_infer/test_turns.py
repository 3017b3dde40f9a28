# Prompts of several turns: what stands after the last one, what is refused, and that one turn is the text alone.

from __future__ import annotations

import itertools

import numpy as np
import pytest

import tiny_bundle
from dpr_infer import QueryError, QueryTypeError, Recommender
from dpr_infer.prompt_reading import PromptReading, WishRule
from dpr_infer.prompt_text import MAX_PROMPT_CHARACTERS
from dpr_infer.turns import merge_turns

RULE = WishRule(("a", "b", "c"), 0.5, 1)


def same(left, right) -> None:
    """Two answers of the same bits."""
    assert left.items == right.items
    assert left.scores.tobytes() == right.scores.tobytes()
    assert left.wishes == right.wishes
    assert left.gates == right.gates
    assert left.prompt_truncated == right.prompt_truncated


def stands(recommender: Recommender, *turns: str) -> dict[str, str]:
    """What is asked for and refused, by tag."""
    return {w.tag: "asked" if w.asked >= 0.5 else "refused" for w in recommender.wishes(turns)}


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        (["comedy", "no war"], {"Comedy": "asked", "War": "refused"}),
        (["comedy", "no comedy"], {"Comedy": "refused"}),
        (["no comedy", "comedy and drama"], {"Comedy": "asked", "Drama": "asked"}),
        (["comedy, no war", "whatever war"], {"Comedy": "asked"}),
        (["comedy", "whatever comedy"], {}),
        (["comedy", "whatever comedy", "comedy"], {"Comedy": "asked"}),
        (["whatever comedy", "comedy"], {"Comedy": "asked"}),
        (["comedy", "whatever comedy and no war"], {"War": "refused"}),
        (["comedy", "please", "", "film"], {"Comedy": "asked"}),
        (["please", "comedy"], {"Comedy": "asked"}),
        (["comedy", "start over"], {}),
        (["comedy", "start over, no war", "drama"], {"War": "refused", "Drama": "asked"}),
        (["start over, comedy", "no war"], {"Comedy": "asked", "War": "refused"}),
        (["comedy", "forget all that", "war", "new search: drama"], {"Drama": "asked"}),
    ],
)
def test_what_stands(recommender, history, turns, expected):
    assert stands(recommender, *turns) == expected
    assert recommender.query(history, turns).wishes == recommender.wishes(turns)


@pytest.mark.parametrize(
    "prompt", ["comedy", "no war, drama", "whatever comedy", "please", "", "  ", "start over", "film " * 20]
)
def test_one_turn_is_the_text_bit_for_bit(bundle_path, history, prompt):
    one, other = Recommender(bundle_path), Recommender(bundle_path)
    for steer, turns in itertools.product(("soft", "strict"), ([prompt], (prompt,))):
        left, right = (
            one.query(history, prompt, 40, steer=steer),
            other.query(history, turns, 40, steer=steer),
        )
        same(left, right)
        assert left.prompt_cached == right.prompt_cached
    assert one.wishes(prompt) == other.wishes([prompt])
    for left, right in zip(
        one.search_arrays([history], [prompt], 9), one.search_arrays([history], [[prompt]], 9), strict=True
    ):
        assert left.tobytes() == right.tobytes()


@pytest.mark.parametrize(
    ("turns", "fewer"),
    [
        (["comedy", "please", "no war"], ["comedy", "no war"]),
        (["please", "film", "comedy"], ["comedy"]),
        (["", "comedy", " "], ["comedy"]),
        (["comedy", "no comedy"], ["no comedy"]),
        (["comedy", "whatever comedy", "no war"], ["no war"]),
        (["drama", "forget everything I said", "no war"], ["forget everything I said", "no war"]),
        (["drama", "war", "start over: no comedy"], ["start over: no comedy"]),
        (["comedy", "no war", "whatever war"], ["comedy"]),
    ],
)
def test_turns_that_hold_nothing_leave_no_trace(recommender, history, turns, fewer):
    same(recommender.query(history, turns, 40), recommender.query(history, fewer, 40))


@pytest.mark.parametrize(
    "turns", [[], (), [""], ["comedy", "whatever comedy"], ["comedy", "new search", " "]]
)
def test_nothing_left_is_plain_bit_for_bit(recommender, history, turns):
    same(recommender.query(history, turns), recommender.query(history))


def test_several_turns_steer_like_one_text(recommender, history):
    answer = recommender.query(history, ["comedy", "no war"], 8, steer="strict")
    assert sum("Comedy" in tags for tags in answer.tags) > sum(
        "Comedy" in tags for tags in recommender.query(history, k=8).tags
    )
    assert not any("War" in tags for tags in answer.tags)
    # Both wishes are the same numbers; the tokens lack a joint reading, so scores may differ a little.
    assert {w.tag: w for w in answer.wishes} == {w.tag: w for w in recommender.wishes("comedy no war")}


def test_taking_a_refusal_back_lifts_strictness(recommender, history):
    refused = recommender.query(history, ["drama", "no war"], 40, steer="strict")
    lifted = recommender.query(history, ["drama", "no war", "whatever war"], 40, steer="strict")
    assert not any("War" in tags for tags in refused.tags)
    assert any("War" in tags for tags in lifted.tags)


def test_batches_take_turns_beside_texts(recommender):
    histories = [tiny_bundle.item_ids(40)[b : b + 3] for b in range(4)]
    prompts = ["comedy", ["comedy", "no war"], None, []]
    batch = recommender.query_batch(histories, prompts, 8)
    rows, _ = recommender.search_arrays(histories, prompts, 8)
    for answer, line, history, prompt in zip(batch, rows, histories, prompts, strict=True):
        alone = recommender.query(history, prompt, 8)
        assert answer.items == alone.items
        assert answer.wishes == alone.wishes
        assert line.tolist() == alone.rows.tolist()
    with pytest.raises(
        QueryError, match="one entry a history, 4; got 2"
    ):  # texts are one for each, not turns
        recommender.query_batch(histories, ["comedy", "no war"])


def test_turns_are_cached_by_their_own_text(fresh, history, monkeypatch):
    fresh.query(history, ["comedy", "no war"])
    assert fresh.query(history, "no war").prompt_cached
    assert fresh.query(history, ["no war", "comedy"]).prompt_cached
    assert not fresh.query(history, ["comedy", "no war", "drama"]).prompt_cached
    assert not fresh.query(history, ["", " "]).prompt_cached

    def fail(feed):
        raise AssertionError("the encoder ran")

    monkeypatch.setattr(fresh._pipeline._encoder.reader._encoding._engine, "run", fail)
    fresh.query(history, ["comedy", "drama", "no war"])
    with pytest.raises(AssertionError, match="the encoder ran"):
        fresh.query(history, ["comedy", "western"])


def test_turns_before_a_start_over_are_not_read(fresh, history):
    fresh.query(history, ["war", "drama", "start again: comedy"])
    assert not fresh.query(history, "war").prompt_cached
    assert fresh.query(history, "start again: comedy").prompt_cached


def test_newest_tokens_are_kept(recommender, history):
    # 12 tokens are read; each text has one more than words, for [CLS].
    reader = recommender._pipeline._encoder.reader
    early, late = "comedy " + "film " * 6, "no war " + "film " * 4
    reading = recommender._pipeline.read_prompt([early, "please", late])
    parts = [recommender._pipeline.read_prompt(text).tokens for text in (early, late)]
    np.testing.assert_array_equal(reading.tokens, np.concatenate(parts)[-reader._token_limit :])
    assert recommender.query(history, [early, late]).prompt_truncated
    assert stands(recommender, early, late) == {"Comedy": "asked", "War": "refused"}
    assert not recommender.query(history, ["comedy", "no war"]).prompt_truncated
    # A turn that was cut may have meant more than was read, so it is told even if its tokens are left out.
    assert recommender.query(history, ["comedy", "film " * 20]).prompt_truncated
    assert not recommender.query(history, ["film " * 20, "start over, comedy"]).prompt_truncated


@pytest.mark.parametrize(
    ("prompt", "error", "message"),
    [
        (["comedy"] * 33, QueryError, "prompt must have at most 32 turns; got 33"),
        (["comedy", 3], QueryTypeError, r"prompt\[1\] must be a str or a mapping.*; got int"),
        (["comedy", None], QueryTypeError, r"prompt\[1\] must be a str or a mapping.*; got NoneType"),
        ([["comedy"]], QueryTypeError, r"prompt\[0\] must be a str or a mapping.*; got list"),
        ([b"comedy"], QueryTypeError, r"prompt\[0\] .*got bytes"),
        (b"comedy", QueryTypeError, "prompt must be a str, a mapping.*; got bytes"),
        ({"comedy"}, QueryTypeError, "got set"),
        (iter(["comedy"]), QueryTypeError, "got list_iterator"),
        (["comedy", "a\x00b"], QueryError, r"prompt\[1\] must not hold control characters"),
        (["\ud800", "start over"], QueryError, r"prompt\[0\] must be valid Unicode"),
        (["x" * (MAX_PROMPT_CHARACTERS + 1)], QueryError, r"prompt\[0\] must have at most 100000"),
    ],
)
def test_wrong_turns_are_told(recommender, history, prompt, error, message):
    for ask in (
        lambda: recommender.query(history, prompt),
        lambda: recommender.query_batch([history], [prompt]),
        lambda: recommender.search_arrays([history], [prompt]),
        lambda: recommender.wishes(prompt),
    ):
        with pytest.raises(error, match=message):
            ask()


def test_most_turns_allowed(recommender, history):
    answer = recommender.query(history, ["comedy", "no comedy"] * 16)
    same(answer, recommender.query(history, "no comedy"))


def reading(rows, released=(0, 0, 0), tokens=1, truncated=False) -> PromptReading:
    """A reading of (asked, refused) a tag; its tokens hold the strength of the first tag, to tell them apart."""
    wish = np.array(rows, np.float32)
    vectors = np.full((tokens, 2), wish[0, 0], np.float32)
    return RULE.reading(vectors, wish, np.array(released, np.float32), truncated=truncated)


def merged(*readings, limit=100) -> PromptReading | None:
    return merge_turns(readings, RULE, limit)


def test_weak_numbers_of_a_later_turn_change_nothing():
    first = reading([(0.9, 0.1), (0.3, 0.2), (0, 0.8)])
    later = reading([(0.4, 0.45), (0.6, 0), (0.1, 0.49)], released=(0.49, 0, 0.3))
    got = merged(first, later).wish
    np.testing.assert_array_equal(got, np.array([(0.9, 0.1), (0.6, 0), (0, 0.8)], np.float32))


def test_the_strongest_of_three_decides():
    first = reading([(0.9, 0), (0.9, 0), (0.9, 0)])
    later = reading([(0.6, 0.55), (0.5, 0.7), (0.2, 0.6)], released=(0.65, 0.6, 0.6))
    got = merged(first, later).wish
    np.testing.assert_array_equal(got, np.array([(0, 0), (0.5, 0.7), (0.2, 0.6)], np.float32))


def test_the_first_turn_takes_nothing_back():
    """Whatever it says about release, another turn must not change what it meant alone."""
    first = reading([(0.6, 0), (0, 0), (0.3, 0)], released=(0.7, 0, 0.9))
    got = merged(first, reading([(0, 0), (0, 0.8), (0, 0)])).wish
    np.testing.assert_array_equal(got, np.array([(0.6, 0), (0, 0.8), (0.3, 0)], np.float32))


def test_what_was_taken_back_stays_so_whatever_is_said_weakly():
    weak = reading([(0.9, 0), (0.4, 0), (0, 0)])
    got = merged(weak, reading([(0, 0)] * 3, released=(0, 0.8, 0)), reading([(0, 0), (0.3, 0), (0, 0.9)]))
    np.testing.assert_array_equal(got.wish, np.array([(0.9, 0), (0, 0), (0, 0.9)], np.float32))


def test_turns_that_lost_their_wishes_lose_their_tokens():
    readings = [reading([(0.9, 0), (0.6, 0), (0, 0)]), reading([(0.8, 0)] + [(0, 0)] * 2)]
    assert merged(*readings).tokens[:, 0].tolist() == pytest.approx([0.9, 0.8])
    readings.append(reading([(0.7, 0), (0, 0), (0, 0)]))
    assert merged(*readings).tokens[:, 0].tolist() == pytest.approx([0.9, 0.7])
    readings.append(reading([(0.1, 0), (0.6, 0), (0, 0)]))
    assert merged(*readings).tokens[:, 0].tolist() == pytest.approx([0.7, 0.1])


def test_neutral_turns_alone_are_read_like_the_first():
    neutral = [reading([(0.1, 0)] * 3), reading([(0.2, 0)] * 3, released=(0.9, 0, 0))]
    assert merged(*neutral) is neutral[0]
    assert merged(*reversed(neutral)) is neutral[1]


def test_readings_are_left_as_they_are():
    readings = [reading([(0.9, 0)] * 3), reading([(0, 0.9)] + [(0, 0)] * 2, released=(0, 0.9, 0))]
    before = [r.wish.copy() for r in readings]
    merged(*readings)
    for kept, r in zip(before, readings, strict=True):
        np.testing.assert_array_equal(kept, r.wish)


def test_a_bundle_that_does_not_read_releases(tmp_path):
    old = Recommender(tiny_bundle.write_tiny_bundle(tmp_path / "old", version=2))
    assert stands(old, "comedy, no war", "no comedy", "whatever war") == {
        "Comedy": "refused",
        "War": "refused",
    }
    assert stands(old, "comedy", "forget all that") == {}
