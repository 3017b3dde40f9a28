# A session answers as Recommender.query with the same history and turns, whatever was done to it and in what order, and
# does anew only what has changed.

from __future__ import annotations

import gc
import shutil
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import damaged_bundle
import tiny_bundle
from dpr_infer import (
    BundleError,
    EngineError,
    QueryError,
    QueryTypeError,
    Recommendation,
    Recommender,
    UnknownItemError,
    UserSession,
    WhereError,
    extend_bundle,
)

GOLDEN = Path(__file__).parents[1] / "golden"
TURNS = (
    "comedy",
    "no war",
    "drama and no comedy",
    "whatever war",
    "unheard of",
    "",
    {"War": "refuse"},
    "start over",
)
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"where": "comedy & !war"},
    {"steer": "strict", "strength": 3.0},
    {"exclude_history": False},
    {"strength": 0.0},
)


def told(answer: Recommendation) -> tuple:
    """All that an answer says, but for times and for what was in the cache."""
    return (
        tuple(answer.items),
        tuple(answer.titles),
        tuple(map(tuple, answer.tags)),
        answer.rows.tobytes(),
        answer.scores.tobytes(),
        tuple(answer.gates.items()),
        answer.wishes,
        answer.history_unread,
        answer.history_truncated,
        answer.prompt_truncated,
    )


def same(session: UserSession, recommender: Recommender, k: int = 10, **options: Any) -> None:
    expected = recommender.query(session.history, session.turns, k, **options)
    assert told(session.query(k, **options)) == told(expected)


@pytest.fixture(scope="module")
def paths(tmp_path_factory) -> dict[int, Path]:
    """Bundles without and with a graph that goes on from a state; sums differ in their order in the second."""
    base = tmp_path_factory.mktemp("sessions")
    return {
        version: tiny_bundle.write_tiny_bundle(base / str(version), version=version, hnsw=True)
        for version in (4, 6)
    }


@pytest.fixture
def stepping() -> Recommender:
    """The golden bundle of version 6: no sum of it rounds, so steps must have the bits of the whole."""
    return Recommender(GOLDEN / "v6", verify="full")


@pytest.fixture
def copy6(paths, tmp_path) -> Path:
    return Path(shutil.copytree(paths[6], tmp_path / "copy"))


def steps_of(recommender: Recommender, monkeypatch: pytest.MonkeyPatch) -> tuple[list[int], list[int]]:
    """Record how many tokens each call of backbone_step and of backbone gets from now on."""
    encoder = recommender._pipeline._encoder
    stepped: list[int] = []
    whole: list[int] = []
    for engine, calls in ((encoder.histories._step, stepped), (encoder._backbone, whole)):
        run = engine.run
        monkeypatch.setattr(
            engine,
            "run",
            lambda feed, run=run, calls=calls: calls.append(feed["items"].shape[1]) or run(feed),
        )
    return stepped, whole


@pytest.mark.parametrize("which", ["4", "golden v6", "4, hnsw"])
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_sequence_answers_as_query_to_the_last_bit(paths, which, data):
    path = GOLDEN / "v6" if which == "golden v6" else paths[4]
    recommender = Recommender(path, index="hnsw" if "hnsw" in which else "exact", ef=2)
    known = recommender.items.ids
    ids = st.lists(st.sampled_from(known), min_size=0, max_size=5)
    session = recommender.session(data.draw(ids))
    added = 0
    for _ in range(data.draw(st.integers(1, 12))):
        match data.draw(
            st.sampled_from(["append", "append", "say", "say", "query", "undo", "start", "live"])
        ):
            case "append":
                session.append(data.draw(ids))
            case "say":
                session.say(data.draw(st.sampled_from(TURNS)))
            case "undo" if session.turns:
                session.undo()
            case "start":
                session.start_over()
            case "live":
                added += 1
                recommender.add_items([f"new {added}"], tags=[["War"]])
                session.append(f"new {added}")
        same(
            session,
            recommender,
            data.draw(st.sampled_from([1, 7, 100])),
            **data.draw(st.sampled_from(OPTIONS)),
        )


@pytest.mark.parametrize("seed", range(5))
def test_steps_that_round_stay_close(paths, seed):
    recommender, rng = Recommender(paths[6]), np.random.default_rng(seed)
    session = recommender.session()
    for _ in range(25):
        session.append(rng.choice(recommender.items.ids, rng.integers(0, 3)).tolist())
        got, expected = session.query(40), recommender.query(session.history, (), 40)
        assert sorted(got.items) == sorted(expected.items)
        scores = dict(zip(expected.items, expected.scores, strict=True))
        np.testing.assert_allclose([scores[i] for i in got.items], got.scores, rtol=1e-5, atol=1e-6)


def test_each_item_is_read_once(stepping, monkeypatch):
    stepped, whole = steps_of(stepping, monkeypatch)
    ids = stepping.items.ids
    session = stepping.session(ids[:4])
    session.query()
    assert (stepped, whole) == ([5], [])  # the beginning, and four items
    session.query(3, where="comedy")
    session.say("no war")
    session.query(exclude=ids[:1], exclude_history=False)
    session.undo()
    session.query()
    assert stepped == [5]  # the history is the same
    session.append(ids[7])
    session.query()
    session.append(ids[8:10])
    session.append(ids[10])
    session.query()
    session.append(ids[-1])  # was added without training: nothing that the backbone reads
    session.query()
    assert (stepped, whole) == ([5, 1, 3], [])
    session.append([])
    session.query()
    assert stepped == [5, 1, 3]


def test_beyond_the_limit_the_newest_items_are_read_again(stepping, monkeypatch):
    stepped, whole = steps_of(stepping, monkeypatch)
    ids, limit = stepping.items.ids, stepping.manifest.history_limit
    session = stepping.session(ids[: limit - 1])
    for item in (ids[20], ids[21], ids[22]):
        session.append(item)
        answer = session.query()
        assert answer.history_truncated == (len(session.history) > limit)
        session.query()
    assert (stepped, whole) == ([limit + 1], [limit, limit])
    same(session, stepping)


def test_without_the_graph_the_user_vector_is_kept_all_the_same(paths, monkeypatch):
    recommender = Recommender(paths[4])
    engine, calls = recommender._pipeline._encoder._backbone, []
    run = engine.run
    monkeypatch.setattr(engine, "run", lambda feed: calls.append(feed["items"].shape[1]) or run(feed))
    session = recommender.session(recommender.items.ids[:3])
    for turn in TURNS[:3]:
        session.say(turn)
        session.query()
    session.append(recommender.items.ids[5])
    session.query()
    session.query(timings=True)
    assert calls == [3, 4]


def test_what_a_session_says_of_itself(stepping):
    ids = stepping.items.ids
    session = stepping.session(ids[:2], ["comedy", {"War": "refuse"}])
    assert isinstance(session, UserSession)
    assert session.history == tuple(ids[:2])
    assert session.turns == ("comedy", {"War": "refuse"})
    assert {wish.tag for wish in session.say("whatever comedy")} == {"War"}
    assert {wish.tag for wish in session.undo()} == {"Comedy", "War"}
    assert session.query().wishes == stepping.wishes(["comedy", {"War": "refuse"}])
    session.start_over()
    assert (session.turns, session.query().wishes) == ((), ())
    assert stepping.session((), "no war").turns == ("no war",)
    assert stepping.session((), {"War": "refuse"}).turns == ({"War": "refuse"},)
    timings = session.query(timings=True).timings_ms
    assert timings is not None
    assert timings["total"] >= timings["encode_history"] >= 0


def test_a_turn_is_a_copy(stepping):
    turn = {"War": "refuse"}
    session = stepping.session()
    session.say(turn)
    turn["War"] = "ask"
    assert session.turns == ({"War": "refuse"},)
    shown = session.turns[0]
    assert isinstance(shown, dict)
    shown["War"] = "ask"
    assert session.turns == ({"War": "refuse"},)


def test_what_is_wrong_changes_nothing(stepping):
    ids = stepping.items.ids
    session = stepping.session(ids[:3], "comedy")
    before = told(session.query())
    for wrong, error, message in (
        (lambda: session.append([ids[0], "nothing"]), UnknownItemError, "nothing"),
        (lambda: session.append(5), QueryTypeError, "items must be a collection of item ids; got 5"),
        (lambda: session.append([ids[0], 5]), QueryTypeError, r"items\[1\] must be an item id"),
        (lambda: session.say(["comedy"]), QueryTypeError, r"prompt\[1\] must be a str or a mapping"),
        (lambda: session.say("\0"), QueryError, "control characters"),
        (lambda: session.say({"Nothing": "ask"}), QueryError, "Nothing"),
        (lambda: session.query(0), QueryError, "k must be at least 1; got 0"),
        (lambda: session.query(where="comdy"), WhereError, "comdy"),
        (lambda: session.query(exclude=["nothing"]), UnknownItemError, "nothing"),
        (lambda: session.query(exclude="nothing"), QueryTypeError, "exclude must be a collection"),
    ):
        with pytest.raises(error, match=message):
            wrong()
        assert (session.history, session.turns) == (tuple(ids[:3]), ("comedy",))
        assert told(session.query()) == before
    with pytest.raises(QueryError, match="must be a turn to undo; the session has none"):
        stepping.session().undo()
    with pytest.raises(QueryError, match=r'unknown_items must be "error" or "skip"; got .*all'):
        stepping.session(unknown_items="all")
    with pytest.raises(
        UnknownItemError, match="history must name items of the catalogue; unknown: 'nothing'"
    ):
        stepping.session(["nothing"])
    with pytest.raises(QueryTypeError, match="history must be a collection of item ids; got 'nothing'"):
        stepping.session("nothing")


def test_a_conversation_has_as_many_turns_as_a_prompt(stepping):
    session = stepping.session((), ["comedy"] * 32)
    with pytest.raises(QueryError, match="at most 32 turns; got 33"):
        session.say("drama")
    session.start_over()
    session.say("drama")


def test_items_that_go_and_come_back(stepping, monkeypatch):
    ids = stepping.items.ids
    strict, lenient = stepping.session(ids[:3]), stepping.session([*ids[:3], "later"], unknown_items="skip")
    same(strict, stepping)
    stepping.set_available([ids[9]], False)
    same(strict, stepping)
    stepping.remove_items([ids[1]])
    with pytest.raises(UnknownItemError, match=ids[1]):
        strict.query()
    assert told(lenient.query()) == told(stepping.query([ids[0], ids[2]]))
    stepping.add_items([ids[1], "later"], tags=[["War"], ["Comedy"]])
    same(strict, stepping)  # another item of that id, which the backbone does not read
    assert lenient.query().history_unread == 2
    assert told(lenient.query()) == told(stepping.query(lenient.history))


def test_another_bundle_is_read_by_the_ids(paths, stepping, monkeypatch):
    recommender = Recommender(paths[4])
    ids = recommender.items.ids
    session = recommender.session(ids[:3], "no war")
    same(session, recommender)
    recommender.reload(paths[6])
    stepped, _ = steps_of(recommender, monkeypatch)
    got, expected = session.query(), recommender.query(ids[:3], "no war")
    assert got.items == expected.items
    np.testing.assert_allclose(got.scores, expected.scores, rtol=1e-5)
    assert stepped == [4]
    monkeypatch.undo()
    recommender.reload(paths[4])
    same(session, recommender)
    recommender.reload(GOLDEN / "v6")  # knows none of these items
    with pytest.raises(UnknownItemError, match=ids[0]):
        session.query()
    recommender.reload(paths[4])
    same(session, recommender)


def test_a_session_keeps_no_bundle_open(paths):
    recommender = Recommender(paths[6])
    session = recommender.session(recommender.items.ids[:3], "no war")
    session.query()
    old = weakref.ref(recommender._pipeline)
    recommender.reload(paths[4])
    gc.collect()
    assert old() is None
    same(session, recommender)


def test_threads_see_whole_states(stepping):
    """Items and turns are added by threads while others ask: no item is lost, and each answer is one of a state."""
    ids = stepping.items.ids
    session = stepping.session()
    begin = threading.Barrier(6)

    def append(part: int) -> None:
        begin.wait()
        for row in range(part, 40, 2):
            session.append([ids[row], ids[row]])  # together or not at all

    def say() -> None:
        begin.wait()
        for _ in range(10):
            session.say("no war")
            session.say("comedy")
            session.start_over()

    def ask() -> list[Recommendation]:
        begin.wait()
        return [session.query(70) for _ in range(40)]

    with ThreadPoolExecutor(6) as pool:
        writers = [pool.submit(append, 0), pool.submit(append, 1), pool.submit(say)]
        readers = [pool.submit(ask) for _ in range(3)]
        answers = [answer for reader in readers for answer in reader.result()]
        for writer in writers:
            writer.result()
    assert sorted(session.history) == sorted([*ids[:40], *ids[:40]])
    assert all(one == two for one, two in zip(session.history[::2], session.history[1::2], strict=True))
    order = list(session.history[::2])
    for answer in answers:
        seen = set(ids) - set(answer.items)
        n = len(seen & set(order))
        assert seen == set(order[:n]) or len(answer.items) == 70
        assert len(answer.wishes) <= 2
    same(session, stepping)


def test_a_thread_of_queries_meets_reloads(paths):
    recommender = Recommender(paths[4])
    session = recommender.session(recommender.items.ids[:4], "comedy")
    expected = {
        told(Recommender(path).session(session.history, "comedy").query(40)) for path in paths.values()
    }
    done = threading.Event()

    def ask() -> set[tuple]:
        found = set()
        while not done.is_set():
            found.add(told(session.query(40)))
        return found

    with ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(ask) for _ in range(2)]
        for path in [paths[6], paths[4]] * 5:
            recommender.reload(path)
        done.set()
        found = set.union(*(a.result() for a in asking))
    assert found <= expected


def test_items_added_to_a_bundle_that_steps(paths, tmp_path):
    extend_bundle(paths[6], tmp_path / "more", ["n1", "n2"], tags=[["War"], ["Comedy"]])
    recommender = Recommender(tmp_path / "more", verify="full")
    dims = recommender.manifest.dims
    assert recommender.manifest.format_version == 6
    assert (dims.items, dims.trained_items, dims.state) == (42, 40, 9)
    session = recommender.session(["n1", recommender.items.ids[0]])
    session.query()
    session.append("n2")
    got, expected = session.query(), recommender.query(session.history)
    assert (got.items, got.history_unread) == (expected.items, 2)


def test_a_step_that_fails_is_told_and_nothing_of_it_is_kept(paths, monkeypatch):
    recommender = Recommender(paths[6])
    ids, engine = recommender.items.ids, recommender._pipeline._encoder.histories._step
    session = recommender.session(ids[:2])
    session.query()
    run, spoil = engine.run, [1]

    def spoiled(feed):
        outputs = [part.copy() for part in run(feed)]
        outputs[spoil[0]].flat[0] = float("nan")
        return outputs

    session.append(ids[3])
    for spoil[0] in (0, 1):
        monkeypatch.setattr(engine, "run", spoiled)
        for _ in range(2):
            with pytest.raises(EngineError, match="backbone_step must give finite numbers"):
                session.query()
    monkeypatch.undo()
    got, expected = session.query(), recommender.query(session.history)
    assert got.items == expected.items


def test_a_graph_that_cannot_be_computed(paths, copy6):
    damaged_bundle.break_graph(copy6, "backbone_step")
    recommender = Recommender(copy6)
    recommender.query(recommender.items.ids[:2])  # queries do not need it
    with pytest.raises(EngineError, match="backbone_step failed to run"):
        recommender.session(recommender.items.ids[:2]).query()
    with pytest.raises(EngineError, match="backbone_step failed to run"):
        Recommender(copy6, verify="full")
    other = Recommender(paths[4])
    with pytest.raises(EngineError, match="backbone_step failed to run"):
        other.reload(copy6)
    other.query([])


def test_a_graph_of_another_model_is_found(copy6, tmp_path):
    other = tiny_bundle.write_tiny_bundle(tmp_path / "other", version=6, seed=1)
    shutil.copyfile(other / "backbone_step.onnx", copy6 / "backbone_step.onnx")
    tiny_bundle.reseal(copy6)
    Recommender(copy6)
    with pytest.raises(
        BundleError, match=r"backbone_step must make of a history what backbone makes of it, within"
    ):
        Recommender(copy6, verify="full")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda m: m["dims"].pop("state"), "must have the key 'state'"),
        (lambda m: m["dims"].update(state=0), "state must be an integer from 1 to 65536; got 0"),
        (lambda m: m["dims"].update(state=65_537), "state must be an integer from 1 to 65536; got 65537"),
        (lambda m: m["dims"].update(state=8), r"state must be float32 \(B, 8\); got float32 \(B, 9\)"),
        (lambda m: m["dims"].pop("trained_items"), "must have the key 'trained_items'"),
        (lambda m: m["hnsw"].pop("items"), "must have the key 'items'"),
        (
            lambda m: m.update(format_version=5),
            "exactly the keys backbone, prompt_encoder, prompt_fusion, fusion_moe",
        ),
        (
            lambda m: m.update(format_version=4),
            "exactly the keys backbone, prompt_encoder, prompt_fusion, fusion_moe",
        ),
        (
            lambda m: m["graphs"].update(backbone_stop=m["graphs"].pop("backbone_step")),
            "exactly the keys backbone",
        ),
        (
            lambda m: m["graphs"]["backbone_step"].update(m["graphs"]["backbone"]),
            "backbone_step: inputs must be items, state; got items",
        ),
        (
            lambda m: m["graphs"]["backbone_step"].update(file="backbone.onnx"),
            r"backbone\.onnx: inputs must be items, state; got items",
        ),
    ],
)
def test_manifests_of_version_6_that_are_wrong(copy6, edit, message):
    tiny_bundle.edit_manifest(copy6, edit)
    with pytest.raises(BundleError, match=message):
        Recommender(copy6, verify="full")


def test_version_6_may_be_without_the_graph(copy6):
    (copy6 / "backbone_step.onnx").unlink()

    def edit(manifest):
        del (
            manifest["graphs"]["backbone_step"],
            manifest["files"]["backbone_step.onnx"],
            manifest["dims"]["state"],
        )

    tiny_bundle.edit_manifest(copy6, edit)
    recommender = Recommender(copy6, verify="full")
    assert recommender.manifest.dims.state == 0
    session = recommender.session(recommender.items.ids[:3], "no war")
    same(session, recommender)
