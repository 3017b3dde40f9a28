# Items added, removed and withheld while a recommender answers.

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tiny_bundle
from dpr_infer import QueryError, QueryTypeError, Recommender, UnknownItemError
from dpr_infer.stopwatch import Stopwatch

IDS = tiny_bundle.item_ids(40)
WIDTH = 16


def same(left, right) -> None:
    assert left.items == right.items
    assert left.scores.tobytes() == right.scores.tobytes()


def towards(recommender, history, length=100.0) -> np.ndarray:
    """An item vector (1, D) in the direction of a user, which ranks first for that user."""
    rows = [recommender.items.row_of[item_id] for item_id in history]
    vector = np.zeros((1, WIDTH), np.float32)
    vector[0, :8] = (
        length
        * recommender._pipeline._encoder.encode([np.array(rows, dtype=np.int64)], [None], Stopwatch()).user[0]
    )
    return vector


def test_an_added_item_is_found_by_the_next_query(fresh, history):
    before = fresh.query(history, k=3)
    rows = fresh.add_items(
        ["new"], vectors=towards(fresh, history), titles=["Brand New (2030)"], tags=[["War"]]
    )
    assert (rows.dtype, rows.tolist()) == (np.int64, [40])
    answer = fresh.query(history, k=3)
    assert answer.items == ["new", *before.items[:2]]
    assert answer.scores[1:].tobytes() == before.scores[:2].tobytes()
    assert (answer.titles[0], answer.tags[0], answer.rows[0]) == ("Brand New (2030)", ["War"], 40)
    assert len(fresh.items) == 41
    assert [fresh.items.titles[row] for row in fresh.items.search("brand new")] == ["Brand New (2030)"]
    assert "new" not in fresh.query(history, k=41, where="!war").items
    assert "new" in fresh.query(history, k=41, where="war").items
    assert "new" not in fresh.query(history, "no war", k=41, steer="strict").items


def test_the_score_of_an_added_item_is_that_of_its_vector(fresh, history):
    copy_of = fresh.items.row_of[fresh.query(history, "comedy, no war", k=1).items[0]]
    vector = np.array(fresh._bundle.catalogue.vectors[copy_of : copy_of + 1])
    fresh.add_items(["twin"], vectors=vector)
    answer = fresh.query(history, "comedy, no war", k=2)
    assert answer.rows.tolist() == [copy_of, 40]  # equal scores by rising row
    assert answer.scores[0] == answer.scores[1]


def test_without_vectors_the_tags_say_where_an_item_is(fresh, history):
    tags = [["Comedy"], ["War", "Comedy"], []]
    fresh.add_items(["a", "b", "c"], tags=tags)
    vectors = fresh._bundle.catalogue.vectors
    plain = fresh.query(history, k=43)
    assert [plain.scores[plain.items.index(item)] for item in "abc"] == [0.0] * 3
    assert plain.titles[plain.items.index("a")] == "a"
    # w is that of the bundle's items with the same tags, so a prompt moves them alike.
    (alike,) = [
        row for row, names in enumerate(fresh.items.tags[:40]) if set(names) == {"War", "Comedy"}
    ] or [None]
    tag_vectors, names = fresh._bundle.catalogue.tag_vectors, fresh.manifest.tags
    expected = tag_vectors[names.index("War")] + tag_vectors[names.index("Comedy")]
    if alike is not None:
        np.testing.assert_allclose(vectors[alike, 8:], expected, rtol=0, atol=1e-6)
    reading = fresh._pipeline.read_prompt("comedy")
    experts, gates = (
        fresh._pipeline._encoder.encode([np.empty(0, np.int64)], [reading], Stopwatch()).experts[0, 0],
        4.0,
    )
    answer = fresh.query([], "comedy", k=43)
    for item, side in (("b", expected), ("c", np.zeros(8))):
        want = gates * float(experts[8:].astype(np.float64) @ side)
        assert answer.scores[answer.items.index(item)] == pytest.approx(want, rel=1e-5, abs=1e-5)
    steered = fresh.query(history, "no comedy", k=43)
    assert steered.scores[steered.items.index("a")] < 0
    assert steered.scores[steered.items.index("c")] == 0.0


def test_an_added_item_in_a_history_is_left_out_but_not_read(fresh, history):
    vectors = np.repeat(towards(fresh, history), 2, axis=0)
    fresh.add_items(["x", "y"], vectors=vectors)
    with_new = fresh.query([history[0], "x", *history[1:], "x"], k=40)
    assert with_new.history_unread == 2
    without = fresh.query(history, k=40, exclude=["x"])
    assert without.history_unread == 0
    same(with_new, without)
    assert "y" in with_new.items
    only = fresh.query(["x", "y"], k=40)
    same(only, fresh.query([], k=40, exclude=["x", "y"]))
    # Entries that are not read do not count against the limit of 10.
    full = fresh.query([*IDS[:10], "x"], k=40)
    assert not full.history_truncated
    assert fresh.query([*IDS[:11], "x"]).history_truncated
    batch = fresh.query_batch([["x"], [], ["y", *history]])
    assert [answer.history_unread for answer in batch] == [1, 0, 1]


def test_a_removed_item_is_unknown_and_the_message_says_why(fresh, history):
    gone = fresh.query(history, k=2).items
    expected = fresh.query(history, k=40, exclude=gone)
    fresh.remove_items(gone * 2)
    same(fresh.query(history, k=40), expected)
    assert len(fresh.items) == 38
    assert gone[0] not in fresh.items
    for arguments in ({"history": ["nobody", gone[0]]}, {"history": [], "exclude": ["nobody", gone[0]]}):
        with pytest.raises(UnknownItemError, match=rf"unknown: 'nobody', '{gone[0]}' \(removed\)$") as caught:
            fresh.query(**arguments)
        assert caught.value.item_ids == ("nobody", gone[0])
    same(fresh.query([gone[0], *history], k=40, unknown_items="skip"), expected)
    with pytest.raises(UnknownItemError, match=r"item_ids must name .* \(removed\)"):
        fresh.remove_items([IDS[0], gone[0]])
    assert IDS[0] in fresh.items
    title = fresh.items.titles[IDS.index(gone[0])]
    assert IDS.index(gone[0]) not in fresh.items.search(title, limit=40)


def test_the_id_of_a_removed_item_may_be_taken_again(fresh):
    fresh.remove_items(IDS[:1])
    (row,) = fresh.add_items(IDS[:1], tags=[["War"]], titles=["Another"])
    assert row == 40
    answer = fresh.query([], k=41)
    assert answer.rows[answer.items.index(IDS[0])] == 40
    assert answer.titles[answer.items.index(IDS[0])] == "Another"
    assert fresh.query(IDS[:1]).history_unread == 1
    fresh.remove_items(IDS[:1])
    with pytest.raises(UnknownItemError, match=r"\(removed\)"):
        fresh.query(IDS[:1])


def test_everything_may_be_removed(fresh):
    fresh.remove_items(IDS)
    assert fresh.query([]).items == []
    assert len(fresh.items) == 0
    assert fresh.items.search("film") == []
    fresh.add_items(["a"], tags=[["War"]])
    assert fresh.query([]).items == ["a"]


def test_an_item_that_is_not_available_is_read_but_not_returned(fresh, history):
    before = fresh.query(history, k=40)
    withheld = before.items[:3]
    fresh.set_available(withheld, False)
    same(fresh.query(history, k=40), fresh.query(history, k=40, exclude=withheld))
    assert fresh.query(withheld).history_unread == 0
    read = fresh.query(withheld, exclude_history=False, k=40)
    assert not set(withheld) & set(read.items)
    fresh.set_available(withheld * 2, True)
    same(fresh.query(history, k=40), before)
    same(fresh.query(withheld, k=40), Recommender(fresh._bundle.path).query(withheld, k=40))


def test_compaction_changes_no_answer(fresh, history):
    fresh.add_items(["a", "b", "c"], tags=[["War"], ["Comedy"], []])
    fresh.remove_items(["b", IDS[7], IDS[20]])
    fresh.set_available([IDS[8], "c"], False)
    before = [fresh.query(history, prompt, 43) for prompt in (None, "comedy", "no war")]
    fresh.compact()
    for answer, prompt in zip(before, (None, "comedy", "no war"), strict=True):
        same(fresh.query(history, prompt, 43), answer)
    fresh.set_available(["c"], True)
    assert "c" in fresh.query(history, k=43).items
    assert fresh.add_items(["d"], tags=[[]]).tolist() == [43]
    fresh.compact()
    fresh.compact()
    assert {"c", "d"} <= set(fresh.query(history, k=43).items)


def test_the_bundle_stays_as_it_was(fresh, bundle_path):
    fresh.remove_items(IDS[:30])
    fresh.add_items(["a"], tags=[["War"]])
    assert len(Recommender(bundle_path, verify="full").items) == 40


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"item_ids": "a"}, QueryTypeError, "item_ids must be a collection"),
        ({"item_ids": [3, 4]}, QueryTypeError, r"item_ids\[0\] must be a str; got 3"),
        ({"item_ids": ["a", "i100"]}, QueryError, "item_ids must be new; the catalogue has 'i100'"),
        ({"item_ids": ["a", ""]}, QueryError, r"item_ids must not be empty; item_ids\[1\] is"),
        ({"item_ids": ["a", "a"]}, QueryError, "item_ids must be unique; 'a' appears more than once"),
        ({"tags": None}, QueryError, "vectors, tags or texts.* got none of them"),
        ({"tags": [["War"]]}, QueryError, "tags must have one entry an item, 2; got 1"),
        (
            {"tags": [["War"], ["Horror"]]},
            QueryError,
            "tags must be of the bundle's 6 tags; 'Horror' of 'b' is none",
        ),
        ({"tags": [["War"], "War"]}, QueryTypeError, r"tags\[1\] must be a collection"),
        ({"tags": "War"}, QueryTypeError, "tags must be a collection of tags for each item"),
        ({"tags": [["War"], [3]]}, QueryTypeError, r"tags\[1\]\[0\] must be a str; got 3"),
        ({"titles": ["x"]}, QueryError, "titles must have one entry an item, 2; got 1"),
        ({"titles": ["x", None]}, QueryTypeError, r"titles\[1\] must be a str"),
        ({"vectors": np.zeros((2, 15), np.float32)}, QueryError, r"vectors must have the shape \(2, 16\)"),
        ({"vectors": np.zeros(16, np.float32)}, QueryError, "vectors must have the shape"),
        ({"vectors": np.full((2, 16), np.nan, np.float32)}, QueryError, "cannot be added: .*nan"),
        ({"vectors": "abc"}, QueryTypeError, "vectors must be an array of numbers"),
    ],
)
def test_wrong_additions_add_nothing(fresh, arguments, error, message):
    with pytest.raises(error, match=message):
        fresh.add_items(**({"item_ids": ["a", "b"], "tags": [["War"], []]} | arguments))
    assert len(fresh.items) == len(fresh.query([], k=50).items) == 40
    assert len(fresh.items.ids) == len(fresh.items.titles) == len(fresh.items.tags) == 40
    assert fresh.add_items(["a", "b"], tags=[["War"], []]).tolist() == [40, 41]


def test_wrong_removals_and_availabilities_change_nothing(fresh):
    with pytest.raises(UnknownItemError, match=r"item_ids must name .* unknown: 'x'$"):
        fresh.set_available([IDS[0], "x"], False)
    with pytest.raises(QueryTypeError, match="available must be True or False; got 0"):
        fresh.set_available(IDS, 0)
    with pytest.raises(UnknownItemError, match=r"unknown: 'x'$"):
        fresh.remove_items([IDS[0], "x"])
    with pytest.raises(QueryTypeError, match="item_ids must be a collection"):
        fresh.remove_items("i100")
    assert len(fresh.query([], k=50).items) == 40


def test_nothing_is_fine(fresh):
    assert fresh.add_items([], tags=[]).shape == (0,)
    fresh.remove_items([])
    fresh.set_available([], True)


def test_queries_while_items_come_and_go(fresh):
    """Every answer is of one state: its ids, titles and rows belong together, and what never changes is there."""
    stop, stable = threading.Event(), set(IDS[:20])

    def ask():
        seen = 0
        while not stop.is_set() or seen == 0:
            answer = fresh.query([], "comedy", k=100)
            assert stable <= set(answer.items)
            assert len(answer.items) == len(set(answer.items)) == len(set(answer.rows.tolist()))
            for item_id, title, row in zip(answer.items, answer.titles, answer.rows.tolist(), strict=True):
                assert row >= 40 or item_id == IDS[row]
                assert row < 40 or title == f"title of {item_id}"
            seen += 1
        return seen

    def change(name):
        for i in range(15):
            ids = [f"{name}-{i}-{j}" for j in range(3)]
            titles = [f"title of {item_id}" for item_id in ids]
            fresh.add_items(ids, tags=[["Comedy"], [], ["War"]], titles=titles)
            fresh.set_available(ids[:1], False)
            fresh.remove_items(ids[1:])
            if i % 5 == 0:
                fresh.compact()

    with ThreadPoolExecutor(5) as pool:
        asking = [pool.submit(ask) for _ in range(2)]
        changing = [pool.submit(change, name) for name in "abc"]
        try:
            for future in changing:
                future.result()
        finally:
            stop.set()
        assert all(future.result() for future in asking)
    assert len(fresh.items) == 40 + 3 * 15
    assert len(fresh.query([], k=200).items) == 40
