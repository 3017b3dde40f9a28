# Prompts: limits, what cannot be read, and the cache.

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from dpr_infer import BundleError, EngineError, QueryError, Recommender
from dpr_infer.prompt_cache import PromptCache
from dpr_infer.prompt_text import MAX_PROMPT_CHARACTERS


def test_long_prompt_is_cut_at_the_end(recommender, history):
    # 12 tokens are read, the first of which is [CLS].
    fits, long = "comedy " + "film " * 10, "comedy " + "film " * 10 + "war"
    assert not recommender.query(history, fits).prompt_truncated
    cut = recommender.query(history, long)
    assert cut.prompt_truncated
    assert [wish.tag for wish in cut.wishes] == ["Comedy"]
    assert recommender.query(history, long).prompt_truncated  # from the cache too
    assert cut.items == recommender.query(history, fits).items


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("no \ud800 war", r"lone surrogate U\+D800"),
        ("a\x00b", r"character 1 is U\+0000"),
        ("\x1b[31m", r"U\+001B"),
        ("\x85", r"U\+0085"),
        ("x" * (MAX_PROMPT_CHARACTERS + 1), "100000 characters; got 100001"),
    ],
)
def test_unreadable_prompts_are_told(recommender, history, prompt, message):
    with pytest.raises(QueryError, match=message):
        recommender.query(history, prompt)
    with pytest.raises(QueryError, match=message):
        recommender.wishes(prompt)


def test_odd_but_readable_prompts(recommender, history):
    for prompt in ("comedy\nfilm\t", "комедия", "\u200bcomedy", "🎬", "x" * MAX_PROMPT_CHARACTERS):
        assert len(recommender.query(history, prompt).items) == 10


def test_cache_is_by_exact_text_and_changes_nothing(fresh, history):
    first, second = fresh.query(history, "no comedy"), fresh.query(history, "no comedy")
    assert (first.prompt_cached, second.prompt_cached) == (False, True)
    assert first.items == second.items
    assert first.scores.tobytes() == second.scores.tobytes()
    assert not fresh.query(history, "no comedy ").prompt_cached


def test_cached_prompt_does_not_depend_on_its_batch(bundle_path, history):
    alone, batched = Recommender(bundle_path), Recommender(bundle_path)
    batched.query_batch([history] * 2, ["no comedy", "war film please and something and drama"])
    reading = [r._pipeline.read_prompt("no comedy") for r in (alone, batched)]
    assert reading[0].tokens.tobytes() == reading[1].tokens.tobytes()
    assert reading[0].wish.tobytes() == reading[1].wish.tobytes()


def test_cache_size_zero_keeps_nothing(bundle_path, history):
    recommender = Recommender(bundle_path, prompt_cache_size=0)
    assert not any(recommender.query(history, "war").prompt_cached for _ in range(2))


def test_cache_forgets_the_least_recently_used():
    cache: PromptCache[int] = PromptCache(2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (1, None, 3)
    cache.put("a", 4)
    assert (cache.get("a"), len(cache)) == (4, 2)


def test_as_many_texts_are_kept_as_the_cache_has_room_for(bundle_path, history):
    """However differently they grow old as whole prompts and as turns of conversations."""
    recommender = Recommender(bundle_path, prompt_cache_size=4)
    readings: list[weakref.ref[np.ndarray]] = []
    for number in range(12):
        readings.append(weakref.ref(recommender._pipeline.read_prompt("drama" + " " * number).tokens))
        assert recommender.query(history, "no comedy").prompt_cached == (number > 0)
        recommender.query(history, "war" + " " * (number // 3))
    gc.collect()
    assert sum(reading() is not None for reading in readings) == 2


def test_a_turn_that_was_a_prompt_is_kept_once(fresh, history):
    assert not fresh.query(history, ["no war", "comedy"]).prompt_cached
    alone = fresh.query(history, "comedy")
    assert alone.prompt_cached
    assert fresh.query(history, ["comedy"]).scores.tobytes() == alone.scores.tobytes()
    assert fresh.query(history, "comedy").scores.tobytes() == alone.scores.tobytes()


def test_bad_tokenizer_is_a_bundle_error(copy):
    import tiny_bundle

    (copy / "tokenizer.json").write_text("{}")
    tiny_bundle.reseal(copy)
    with pytest.raises(BundleError, match=r"tokenizer\.json"):
        Recommender(copy)


@pytest.mark.parametrize("output", [0, 1, 2])
def test_encoder_that_gives_nan_is_told(fresh, history, monkeypatch, output):
    reader = fresh._pipeline._encoder.reader
    run = reader._encoding._engine.run

    def spoiled(feed):
        outputs = run(feed)
        outputs[output].flat[0] = float("nan")
        return outputs

    monkeypatch.setattr(reader._encoding._engine, "run", spoiled)
    with pytest.raises(EngineError, match="finite"):
        fresh.query(history, "comedy")
    assert not reader.knows("comedy")


def test_engine_failure_is_told(fresh, history, monkeypatch):
    def fail(names, feed):
        raise RuntimeError("[E] out of memory\nmore")

    monkeypatch.setattr(fresh._pipeline._encoder._backbone._engine, "_session_run", fail)
    with pytest.raises(EngineError, match=r"backbone failed to run: .*out of memory$"):
        fresh.query(history)
