# Batches and arrays: the answers of query(), many at a time.

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tiny_bundle
from dpr_infer import QueryError, QueryTypeError
from dpr_infer.checked_engine import CheckedEngine

IDS = tiny_bundle.item_ids(40)
HISTORIES = [IDS[:3], [], IDS[5:19], [IDS[7]], IDS[20:24]]
PROMPTS = ["comedy", None, "no war please and drama film", "", "no drama"]


def alike(left, right) -> None:
    assert left.items == right.items
    np.testing.assert_allclose(left.scores, right.scores, rtol=1e-5)
    assert left.wishes == right.wishes
    assert left.gates == pytest.approx(right.gates, rel=1e-5)
    assert (left.prompt_truncated, left.history_truncated) == (
        right.prompt_truncated,
        right.history_truncated,
    )


def test_batch_is_the_queries_one_by_one(recommender):
    batch = recommender.query_batch(HISTORIES, PROMPTS, 8, steer="strict", where="!action")
    assert len(batch) == len(HISTORIES)
    for answer, history, prompt in zip(batch, HISTORIES, PROMPTS, strict=True):
        alike(answer, recommender.query(history, prompt, 8, steer="strict", where="!action"))


def test_plain_queries_of_a_mixed_batch_have_gates_exactly_zero(recommender):
    batch = recommender.query_batch(HISTORIES, PROMPTS)
    for answer, prompt in zip(batch, PROMPTS, strict=True):
        assert any(answer.gates.values()) == bool(prompt)


def test_one_prompt_serves_all(recommender):
    for answer, history in zip(recommender.query_batch(HISTORIES, "comedy"), HISTORIES, strict=True):
        alike(answer, recommender.query(history, "comedy"))


def test_equal_histories_are_encoded_once(fresh, monkeypatch):
    lines = []
    run = CheckedEngine.run

    def see(self, inputs):
        lines.extend([] if "items" not in inputs else inputs["items"].tolist())
        return run(self, inputs)

    monkeypatch.setattr(CheckedEngine, "run", see)
    histories = [IDS[:3], [], IDS[:3], IDS[3:6], [], IDS[:3]]
    prompts = [None, "comedy", "no war", "comedy", None, "drama"]
    batch = fresh.query_batch(histories, prompts)
    assert len(lines) == len(set(map(tuple, lines))) == 3
    for answer, history, prompt in zip(batch, histories, prompts, strict=True):
        alike(answer, fresh.query(history, prompt))


def test_empty_batch(recommender):
    assert recommender.query_batch([], None) == []
    assert recommender.query_batch([], "comedy", exclude=["i100"]) == []
    rows, scores = recommender.search_arrays([], [], 4)
    assert (rows.shape, scores.shape) == ((0, 4), (0, 4))
    with pytest.raises(QueryError, match="strength"):
        recommender.query_batch([], strength=-1)


def test_exclude_for_all_or_one_by_one(recommender):
    two, banned = HISTORIES[:2], IDS[10:14]
    for answer in recommender.query_batch(two, k=40, exclude=banned):
        assert not set(banned) & set(answer.items)
    first, second = recommender.query_batch(two, k=40, exclude=[banned, ()])
    assert not set(banned) & set(first.items)
    assert set(banned) <= set(second.items)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"exclude": [["i100"]]}, QueryError, "one collection of item ids a query, 2; got 1"),
        ({"exclude": ["i100", ["i107"]]}, QueryTypeError, "got both"),
        ({"exclude": [["i100"], 3]}, QueryTypeError, r"exclude\[1\]"),
        ({"prompts": ["comedy"]}, QueryError, "one entry a history, 2; got 1"),
        ({"prompts": ["comedy", 3]}, QueryTypeError, "prompt must be a str"),
        ({"prompts": 3}, QueryTypeError, "prompts must be"),
        ({"histories": "i100"}, QueryTypeError, "histories must be a collection"),
        ({"histories": ["i100", "i107"]}, QueryTypeError, r"histories\[0\]"),
    ],
)
def test_wrong_batches_are_told(recommender, arguments, error, message):
    with pytest.raises(error, match=message):
        recommender.query_batch(**({"histories": [[], []]} | arguments))


def test_arrays_are_the_answers_padded(recommender):
    rows, scores = recommender.search_arrays(HISTORIES, PROMPTS, 50, where="comedy & !war")
    assert (rows.shape, rows.dtype, scores.dtype) == ((5, 50), np.int64, np.float32)
    for b, answer in enumerate(recommender.query_batch(HISTORIES, PROMPTS, 50, where="comedy & !war")):
        n = len(answer.items)
        assert 0 < n < 50
        assert rows[b, :n].tolist() == answer.rows.tolist()
        assert scores[b, :n].tobytes() == answer.scores.tobytes()
        assert (rows[b, n:] == -1).all()
        assert (scores[b, n:] == -np.inf).all()


def test_timings_of_a_batch_are_shared(recommender):
    first, *rest = recommender.query_batch(HISTORIES, PROMPTS, timings=True)
    assert all(answer.timings_ms == first.timings_ms for answer in rest)
    assert rest[0].timings_ms is not first.timings_ms


def test_many_threads_at_once(fresh):
    cases = [(history, prompt) for history in HISTORIES for prompt in PROMPTS]
    expected = [fresh.query(history, prompt) for history, prompt in cases]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda case: fresh.query(*case), cases * 8))
    for i, answer in enumerate(answers):
        want = expected[i % len(cases)]
        assert answer.items == want.items
        assert answer.scores.tobytes() == want.scores.tobytes()
        assert answer.wishes == want.wishes
