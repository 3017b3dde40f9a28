# RowTable against a dict, items_at against indexing, history_tokens against what it says.
from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpr_infer._core import RowTable, history_tokens, items_at

IDS = st.text(st.sampled_from("ab\xe9\u20ac\U0001f600"), max_size=4)  # one to four bytes a character


class Shouting(str):
    """Equal to what it is not, were it asked."""

    __slots__ = ()

    def __hash__(self):
        return hash(self.lower())

    def __eq__(self, other):
        return self.lower() == other


def copied(text):
    """The same string, but never the same object."""
    return "".join([*text])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.booleans(), IDS), max_size=200), st.lists(IDS, max_size=150))
def test_it_knows_what_a_dict_knows(changes, wanted):
    ids, row_of = ["first"], {"first": 0}
    table = RowTable(ids)
    for adds, item_id in changes:
        if not adds and item_id in row_of:
            del row_of[item_id]
            table.remove(copied(item_id))
        elif adds and item_id not in row_of:
            row_of[item_id] = len(ids)
            ids.append(item_id)
            table.add(len(ids) - 1)
    known = [item_id for item_id in wanted if item_id in row_of]
    for collection in (known, tuple(map(copied, known))):
        rows = table.find(collection)
        assert rows.dtype == np.int64
        assert rows.tolist() == [row_of[item_id] for item_id in known]
    if len(known) < len(wanted):
        assert table.find(wanted) is None


def test_many_ids_that_share_the_lowest_bits_of_their_hashes():
    alike = [text for text in map(str, range(200_000)) if hash(text) % 1024 == 5]
    assert len(alike) > 100
    table = RowTable(alike)
    table.remove(alike[7])
    assert table.find(alike[8:]).tolist() == list(range(8, len(alike)))
    assert table.find([alike[7]]) is None


def test_an_id_that_was_removed_may_come_back_elsewhere():
    ids = ["a", "b"]
    table = RowTable(ids)
    for round_ in range(100):  # removed places are used up and made anew
        table.remove("a")
        assert table.find(["a"]) is None
        ids.append("a")
        table.add(len(ids) - 1)
        assert table.find(["a", "b"]).tolist() == [2 + round_, 1]


def test_what_is_no_plain_str_is_left_to_others():
    table = RowTable(["a", "b"])
    assert table.find(["a", Shouting("A")]) is None
    assert table.find([1]) is None
    assert table.find([["a"]]) is None
    assert table.find([]).tolist() == []


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: RowTable(["a", 1]), TypeError, r"^ids\[1\]: expected a str, got int$"),
        (lambda: RowTable([]).find({"a"}), TypeError, "^ids: expected a list or a tuple, got set$"),
        (lambda: RowTable(["a"]).remove("b"), KeyError, "id: expected one in the table"),
        (
            lambda: items_at(["a"], ["A"], [()], np.array([0, 1])),
            IndexError,
            r"^rows\[1\]: expected fewer than 1, got 1$",
        ),
        (
            lambda: items_at(["a"], ["A"], [()], np.array([0], np.int32)),
            TypeError,
            "^rows: expected dtype int64, got int32$",
        ),
        (
            lambda: history_tokens([np.zeros(2, np.int32)], 5),
            TypeError,
            "^histories: expected dtype int64, got int32$",
        ),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_list_that_became_shorter_crashes_nothing():
    ids = ["a", "b", "c"]
    table = RowTable(ids)
    del ids[1:]
    assert table.find(["b"]) is None
    assert table.find(["a"]).tolist() == [0]
    assert items_at(ids, ids, [(), ()], np.array([0])) == (["a"], ["a"], [[]])


def test_the_table_keeps_the_list_and_nothing_else():
    ids = [copied("only here")]
    before = sys.getrefcount(ids), sys.getrefcount(ids[0])
    table = RowTable(ids)
    rows = table.find([copied("only here")])
    during = sys.getrefcount(ids), sys.getrefcount(ids[0])
    del table, rows
    after = sys.getrefcount(ids), sys.getrefcount(ids[0])
    assert (during, after) == ((before[0] + 1, before[1]), before)


@given(st.lists(st.integers(0, 4), max_size=8), st.integers(0, 3))
def test_items_at_rows(rows, padding):
    ids, titles = [f"id{i}" for i in range(5)], [f"Title {i}" for i in range(5)]
    tags = [tuple(f"tag{j}" for j in range(i)) for i in range(5)]
    got = items_at(ids, titles, tags, np.array([*rows, *[-1] * padding], dtype=np.int64))
    assert got == ([ids[r] for r in rows], [titles[r] for r in rows], [list(tags[r]) for r in rows])
    assert all(a is not b for a, b in zip(got[2], got[2][1:], strict=False))


@given(st.lists(st.lists(st.integers(0, 99), max_size=9), min_size=1, max_size=5), st.integers(1, 9))
def test_history_tokens(histories, limit):
    tokens = history_tokens([np.array(history, dtype=np.int64) for history in histories], limit)
    read = [[row + 1 for row in history[-limit:]] for history in histories]
    longest = max([1, *map(len, read)])
    assert tokens.dtype == np.int64
    assert tokens.tolist() == [[0] * (longest - len(line)) + line for line in read]
