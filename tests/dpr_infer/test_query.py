# What a query means: history, exclusion, prompt, strength, strictness, k.

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest

import tiny_bundle
from dpr_infer import QueryError, QueryTypeError, Recommendation, Recommender, UnknownItemError
from dpr_infer.types import make_recommendation

IDS = tiny_bundle.item_ids(40)


def same(left, right) -> None:
    assert left.items == right.items
    assert left.scores.tobytes() == right.scores.tobytes()


def test_answer_is_told_in_ids_titles_tags_and_rows(recommender, history):
    answer = recommender.query(history, "comedy", 7)
    assert len(answer.items) == len(answer.titles) == len(answer.tags) == 7
    assert answer.rows.dtype == np.int64
    assert answer.scores.dtype == np.float32
    assert answer.items == [IDS[row] for row in answer.rows]
    assert answer.titles == [f"Film {row} ({1950 + row % 70})" for row in answer.rows]
    assert answer.tags == [list(recommender.items.tags[row]) for row in answer.rows]
    assert (np.diff(answer.scores) <= 0).all()
    assert answer.timings_ms is None


def test_prompt_steers_towards_and_away(recommender, history):
    plain = recommender.query(history)
    assert sum("Comedy" in tags for tags in plain.tags) < 10
    assert all("Comedy" in tags for tags in recommender.query(history, "comedy").tags)
    assert not any("Comedy" in tags for tags in recommender.query(history, "no comedy").tags)


def test_wishes_are_those_above_the_threshold_strongest_first(recommender):
    (wish,) = recommender.wishes("something comedy")
    assert (wish.tag, wish.refused) == ("Comedy", 0.0)
    assert wish.asked == pytest.approx(1, abs=1e-5)
    assert {(w.tag, w.asked > 0.5, w.refused > 0.5) for w in recommender.wishes("no war, drama")} == {
        ("War", False, True),
        ("Drama", True, False),
    }
    strengths = [max(w.asked, w.refused) for w in recommender.wishes("no war, drama and comedy")]
    assert strengths == sorted(strengths, reverse=True)
    assert recommender.wishes("") == ()


@pytest.mark.parametrize("prompt", [None, "", "  \t\n", "something please", "[UNK] hello"])
def test_neutral_prompt_is_plain_bit_for_bit(recommender, history, prompt):
    plain, answer = recommender.query(history), recommender.query(history, prompt)
    same(answer, plain)
    assert set(answer.gates.values()) == {0.0}
    assert answer.wishes == ()


def test_neutral_prompt_runs_no_prompt_engine(fresh, history, monkeypatch):
    def fail(feed):
        raise AssertionError("an engine ran")

    monkeypatch.setattr(fresh._pipeline._encoder._fusion, "run", fail)
    monkeypatch.setattr(fresh._pipeline._encoder.reader._encoding._engine, "run", fail)
    for prompt in (None, "", "   "):
        fresh.query(history, prompt)
    with pytest.raises(AssertionError, match="an engine ran"):
        fresh.query(history, "comedy")


def test_strength_zero_is_plain_and_more_strength_moves_more(recommender, history):
    plain = recommender.query(history, k=40)
    same(recommender.query(history, "comedy", 40, strength=0), plain)
    gaps = [
        np.abs(
            np.sort(recommender.query(history, "comedy", 40, strength=s).scores) - np.sort(plain.scores)
        ).sum()
        for s in (0.1, 0.5, 2.0)
    ]
    assert gaps == sorted(gaps)
    assert gaps[0] > 0


def test_history_is_excluded_unless_asked(recommender, history):
    everything = recommender.query(history, k=40)
    assert not set(history) & set(everything.items)
    assert len(everything.items) == 40 - len(history)
    assert set(recommender.query(history, k=40, exclude_history=False).items) == set(IDS)


def test_long_history_keeps_the_newest_but_excludes_all(recommender):
    long = IDS[:14]  # the bundle reads 10
    answer = recommender.query(long, k=40)
    assert answer.history_truncated
    assert not set(long) & set(answer.items)
    newest = recommender.query(long[-10:], k=40, exclude=long[:4])
    assert not newest.history_truncated
    same(answer, newest)


def test_order_and_repetition_of_a_history_are_kept(recommender):
    once, twice = IDS[:2], [IDS[0], IDS[0], IDS[1]]
    assert recommender.query(once).scores.tolist() != recommender.query(twice).scores.tolist()


def test_empty_history_starts_from_the_learned_start(recommender):
    answer = recommender.query([], k=40)
    assert len(answer.items) == 40
    assert not answer.history_truncated
    assert np.ptp(answer.scores) > 0  # a zero user would score all items alike


def test_exclude(recommender, history):
    best = recommender.query(history).items[:3]
    assert not set(best) & set(recommender.query(history, k=40, exclude=best).items)
    same(recommender.query(history, exclude=iter(best)), recommender.query(history, exclude=best * 2))
    assert recommender.query(history, exclude=IDS).items == []


def test_strict_never_returns_what_is_refused(recommender, history):
    soft = recommender.query(history, "no war", 40)
    strict = recommender.query(history, "no war", 40, steer="strict")
    assert any("War" in tags for tags in soft.tags)
    assert not any("War" in tags for tags in strict.tags)
    assert strict.items == [i for i, tags in zip(soft.items, soft.tags, strict=True) if "War" not in tags]
    same(recommender.query(history, "war", 40, steer="strict"), recommender.query(history, "war", 40))


def test_fewer_than_k(recommender, history):
    answer = recommender.query(history, k=1000)
    assert len(answer.items) == len(answer.scores) == len(answer.rows) == 40 - len(history)
    assert np.isfinite(answer.scores).all()
    same(recommender.query(history, k=10**9), answer)


def test_unknown_items(recommender, history):
    with pytest.raises(UnknownItemError, match=r"history .* unknown: '0', 'x'$") as caught:
        recommender.query(["0", *history, "x", "0"])
    assert caught.value.item_ids == ("0", "x")
    with pytest.raises(UnknownItemError, match=r"exclude .* and 5 more"):
        recommender.query(history, exclude=[str(i) for i in range(15)])
    same(
        recommender.query(["0", *history, "x"], exclude=["y"], unknown_items="skip"),
        recommender.query(history),
    )


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"k": 0}, QueryError, "k must be at least 1; got 0"),
        ({"k": -3}, QueryError, "got -3"),
        ({"k": True}, QueryTypeError, "k must be an int; got True"),
        ({"k": 2.0}, QueryTypeError, "k must be an int"),
        ({"strength": float("nan")}, QueryError, "strength must be finite"),
        ({"strength": float("inf")}, QueryError, "strength must be finite"),
        ({"strength": -1}, QueryError, ">= 0; got -1"),
        ({"strength": "1"}, QueryTypeError, "strength must be a number"),
        ({"steer": "hard"}, QueryError, "got 'hard'"),
        ({"unknown_items": "drop"}, QueryError, "got 'drop'"),
        ({"exclude_history": 1}, QueryTypeError, "exclude_history"),
        ({"exclude": "i100"}, QueryTypeError, "exclude must be a collection"),
        ({"exclude": [3]}, QueryTypeError, r"exclude\[0\]"),
        ({"history": "i100"}, QueryTypeError, "history must be a collection"),
        ({"history": None}, QueryTypeError, "history must be a collection"),
        ({"history": [50]}, QueryTypeError, r"history\[0\] must be an item id, a str; got 50"),
        ({"history": [["i100"]]}, QueryTypeError, r"history\[0\]"),
        (
            {"prompt": 7},
            QueryTypeError,
            "prompt must be a str, a mapping of tags to roles, None, or a sequence of str and mappings, its turns",
        ),
        ({"prompt": b"comedy"}, QueryTypeError, "got bytes"),
        ({"where": 7}, QueryTypeError, "where must be a str"),
        ({"prompt": "comedy", "strength": 3e38}, QueryError, "cannot be scored"),
    ],
)
def test_wrong_arguments_are_told(recommender, arguments, error, message):
    with pytest.raises(error, match=message):
        recommender.query(**({"history": [IDS[0]]} | arguments))


def test_numpy_numbers_are_numbers(recommender, history):
    same(
        recommender.query(history, "comedy", np.int64(3), strength=np.float32(1)),
        recommender.query(history, "comedy", 3),
    )


def test_timings(recommender, history):
    times = recommender.query(history, "comedy and war", timings=True).timings_ms
    assert list(times) == ["tokenise", "encode_prompt", "encode_history", "fuse", "score", "total"]
    assert all(ms >= 0 for ms in times.values())
    assert times["encode_history"] > 0
    assert sum(times.values()) - times["total"] <= times["total"]


@pytest.mark.parametrize(
    "option", [{"threads": 0}, {"threads": True}, {"prompt_cache_size": -1}, {"verify": "no"}]
)
def test_wrong_options_of_the_recommender(bundle_path, option):
    with pytest.raises(QueryError, match=next(iter(option))):
        Recommender(bundle_path, **option)


def test_an_answer_is_what_its_class_makes_of_the_same_attributes(recommender, history):
    answer = recommender.query(history, "no comedy")
    attributes = {field.name: getattr(answer, field.name) for field in dataclasses.fields(Recommendation)}
    assert type(answer) is Recommendation
    assert repr(answer) == repr(Recommendation(**attributes))
    with pytest.raises(dataclasses.FrozenInstanceError):
        answer.items = []
    numbered = make_recommendation(*range(len(attributes)))
    assert dataclasses.astuple(numbered) == tuple(range(len(attributes)))
    assert pickle.loads(pickle.dumps(answer)).items == answer.items
