# Queries of different options at once: each is answered as if it were alone, and errors stay with who made them.

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny_bundle
from dpr_infer import DprError, EngineError, Query, QueryTypeError, Recommender, UnknownItemError
from dpr_infer.request import QueryArguments, check_options
from dpr_infer.scoring import KernelQueries
from dpr_infer.stopwatch import Stopwatch

N = 40
IDS = tiny_bundle.item_ids(N)
PROMPTS = [None, "", "comedy", "no war please", ["comedy", "whatever comedy", "no drama"], {"War": "ask"}]
WHERES = [None, " ", "war", "!action", "(war | comedy) & (drama | !comedy)", "war & !war"]


def queries() -> st.SearchStrategy[Query]:
    ids = st.lists(st.sampled_from([*IDS, "nobody"]), max_size=14)
    return st.builds(
        Query,
        history=ids,
        prompt=st.sampled_from(PROMPTS),
        k=st.sampled_from([0, 1, 2, 3, 5, 8, 9, 17, 39, 40, 41, 42, 1000]),
        exclude=st.lists(st.sampled_from(IDS), max_size=4),
        exclude_history=st.booleans(),
        where=st.sampled_from([*WHERES, "nope", "war &"]),
        strength=st.sampled_from([0.0, 0.25, 1.0, 3.0, 3e38, -1.0]),
        steer=st.sampled_from(["soft", "strict"]),
        unknown_items=st.sampled_from(["error", "skip"]),
    )


def alone(recommender: Recommender, query: Query):
    options = {name: getattr(query, name) for name in Query.__dataclass_fields__}
    try:
        return recommender.query(**options)
    except DprError as error:
        return error


def assert_alike(got, want) -> None:
    assert type(got) is type(want)
    if isinstance(want, DprError):
        assert str(got) == str(want)
        return
    # Sums of the engines may differ in their last bits between batch sizes, so near ties may swap.
    np.testing.assert_allclose(got.scores, want.scores, rtol=1e-4, atol=1e-5)
    assert got.wishes == want.wishes
    swapped = [i for i, (left, right) in enumerate(zip(got.items, want.items, strict=True)) if left != right]
    for i in swapped:
        neighbours = np.delete(want.scores, i)
        assert np.abs(neighbours - want.scores[i]).min() < 1e-4


@pytest.mark.parametrize("index", ["exact", "hnsw"])
@settings(max_examples=40, deadline=None)
@given(batch=st.lists(queries(), max_size=9))
def test_each_is_answered_as_if_it_were_alone(both, index, batch):
    recommender = both[index]
    answers = recommender.query_each(batch)
    assert len(answers) == len(batch)
    for got, query in zip(answers, batch, strict=True):
        assert_alike(got, alone(recommender, query))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recommender]:
    path = tiny_bundle.write_tiny_bundle(tmp_path_factory.mktemp("mixed") / "bundle", hnsw=True)
    return {index: Recommender(path, index=index, ef=2) for index in ("exact", "hnsw")}


@pytest.mark.parametrize("index", ["exact", "hnsw", "bad hnsw"])
def test_a_larger_k_beside_it_changes_no_bit(both, index, monkeypatch):
    pipeline = both[index.removeprefix("bad ")]._pipeline
    if (
        index == "bad hnsw"
    ):  # whoever is searched for in full, though there are enough candidates, is found out
        monkeypatch.setattr(
            pipeline._ranker._index, "candidates", lambda points, count: [np.arange(count)] * len(points)
        )
    asked = [
        QueryArguments(
            IDS[b : b + 3],
            PROMPTS[b % len(PROMPTS)],
            [],
            check_options(
                1,
                strength=1.0,
                steer="soft",
                exclude_history=False,
                unknown_items="error",
                where=WHERES[b % 5],
            ),
        )
        for b in range(12)
    ]
    read, watch = pipeline.read(asked, Stopwatch()), Stopwatch()
    encoded = pipeline._encoder.encode([q.history for q in read], [q.reading for q in read], watch)
    k = [1, 2, 3, 4, 7, 9, 15, 16, 17, 30, 40, 50]
    together = KernelQueries(encoded, read, k)
    rows, scores = pipeline._rank(together)
    one_call = pipeline._ranker.search(together)
    for b, count in enumerate(k):
        want_rows, want_scores = pipeline._ranker.search(together.pick([b]))
        assert want_rows.shape == (1, count)
        for got_rows, got_scores in ((rows, scores), one_call):
            assert got_rows[b, :count].tolist() == want_rows[0].tolist()
            assert got_scores[b, :count].tobytes() == want_scores[0].tobytes()


def test_k_that_are_alike_share_a_call_and_others_do_not(both, monkeypatch):
    ranker, calls = both["exact"]._pipeline._ranker, []
    search = ranker.search

    def remember(queries, **options):
        calls.append(queries.k)
        return search(queries, **options)

    monkeypatch.setattr(ranker, "search", remember)
    both["exact"].query_each([Query(k=k) for k in (10, 1, 12, 16, 9, 2, 33)])
    assert sorted(calls) == [[1], [2], [10, 12, 16, 9], [33]]


def test_mixed_options_run_the_engines_once(both, monkeypatch):
    encoder, sizes = both["exact"]._pipeline._encoder, []
    run = encoder._backbone.run
    monkeypatch.setattr(encoder._backbone, "run", lambda feed: sizes.append(len(feed["items"])) or run(feed))
    both["exact"].query_each(
        [
            Query(history=IDS[:1], where="war", strength=0.5),
            Query(history=IDS[1:2], k=3, steer="strict"),
            Query(history=IDS[2:3], exclude_history=False),
        ]
    )
    assert sizes == [3]


def test_errors_stay_with_who_made_them(recommender):
    batch = [
        Query(history=["nobody"]),
        Query(),
        Query(where="nope"),
        Query(prompt="a\x00b"),
        Query(strength=3e38, prompt="comedy"),
        Query(k=0),
        Query(history="i100"),
        Query(prompt="comedy"),
    ]
    answers = recommender.query_each(batch)
    assert [isinstance(answer, DprError) for answer in answers] == [True, False] + [True] * 5 + [False]
    assert isinstance(answers[0], UnknownItemError)
    assert "cannot be scored" in str(answers[4])
    for place in (1, 7):
        assert answers[place].items == recommender.query([], batch[place].prompt).items


def test_a_failing_engine_is_told_to_each(fresh, monkeypatch):
    def fail(feed):
        raise EngineError("backbone failed to run")

    monkeypatch.setattr(fresh._pipeline._encoder._backbone, "run", fail)
    answers = fresh.query_each([Query(), Query(where="nope"), Query()])
    assert [type(answer).__name__ for answer in answers] == ["EngineError", "WhereError", "EngineError"]


def test_what_an_engine_cannot_do_together_it_does_apart(fresh, monkeypatch):
    """Prompts are read once, however often their queries are tried."""
    encoder = fresh._pipeline._encoder
    run, read = encoder._backbone.run, encoder.reader._encoding._engine.run
    reads = []

    def fail_on_one(feed):
        if 7 + 1 in feed["items"]:
            raise EngineError("backbone failed to run")
        return run(feed)

    monkeypatch.setattr(encoder._backbone, "run", fail_on_one)
    monkeypatch.setattr(
        encoder.reader._encoding._engine,
        "run",
        lambda feed: reads.append(len(feed["input_ids"])) or read(feed),
    )
    prompts = ["comedy", "war", "drama", "no war"]
    answers = fresh.query_each([Query(history=[IDS[5 + b]], prompt=p) for b, p in enumerate(prompts)])
    assert [isinstance(answer, EngineError) for answer in answers] == [False, False, True, False]
    assert reads.count(1) == 4
    assert reads.count(2) == 1  # the first two of one length once more, to be compared


def test_no_query_is_no_answer_and_something_else_is_refused(recommender):
    assert recommender.query_each([]) == []
    with pytest.raises(QueryTypeError, match=r"queries\[1\] must be a Query; got str"):
        recommender.query_each([Query(), "comedy"])


def test_times_are_each_answers_own(recommender):
    first, second = recommender.query_each([Query(), Query(prompt="comedy")], timings=True)
    assert first.timings_ms == second.timings_ms
    assert first.timings_ms is not second.timings_ms
    assert first.timings_ms["total"] > 0
    assert recommender.query_each([Query()])[0].timings_ms is None
