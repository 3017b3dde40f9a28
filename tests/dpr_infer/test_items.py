# The item table and its search.

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpr_infer import items
from dpr_infer.items import ItemTable

TITLES = [
    "Matrix, The (1999)",
    "Matrix Reloaded, The (2003)",
    "Star Wars (1977)",
    "Empire Strikes Back, The (1980)",
    "Amélie (2001)",
    "Schindler's List (1993)",
    "List, The (2007)",
]
TABLE = ItemTable([str(i) for i in range(len(TITLES))], TITLES, [()] * len(TITLES))


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("the matrix", [0, 1]),
        ("matr rel", [1]),
        ("STAR", [2]),
        ("amelie", [4]),
        ("schindlers list", [5]),
        ("list", [6, 5]),
        ("1999", [0]),
        ("star warz", [2]),
        ("empyre strikes", [3]),
        ("qqqq", []),
        ("", []),
        ("!?", []),
    ],
)
def test_search(text, rows):
    assert TABLE.search(text) == rows


def test_search_is_limited():
    assert TABLE.search("the", limit=2) == [6, 0]


def test_items_come_and_go():
    table = ItemTable(["a", "b"], ["First", "Second"], [(), ()])
    assert table.search("first") == [0]
    first = table.append(["c", "d"], ["Third", "Fourth"], [("War",), ()])
    assert (first, "c" in table, len(table), table.search("third")) == (2, False, 2, [])
    table.publish(first)
    assert (table.row_of["d"], len(table), table.search("third")) == (3, 4, [2])
    table.remove(["a", "c"])
    assert ("a" in table, len(table), table.search("first"), table.removed_ids) == (False, 2, [], {"a", "c"})
    assert (table.ids, table.titles[2], table.tags[2]) == (["a", "b", "c", "d"], "Third", ("War",))
    table.publish(table.append(["a"], ["Fifth"], [()]))
    assert (table.row_of["a"], table.removed_ids) == (4, {"c"})
    table.append(["e"], ["Sixth"], [()])
    assert table.search("sixth") == []
    table.withdraw(5)
    assert (len(table.ids), len(table.titles), len(table.tags)) == (5, 5, 5)
    table.publish(table.append(["e"], ["Seventh"], [()]))
    assert (table.search("sixth"), table.search("seventh")) == ([], [5])


def test_lookup():
    assert len(TABLE) == 7
    assert "3" in TABLE
    assert "x" not in TABLE
    assert TABLE.row_of["3"] == 3


WORDS = st.text(st.sampled_from("ab \u00e9-\U0001f469\ud800"), max_size=8)
STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "withdraw", "remove"]), st.lists(WORDS, min_size=1, max_size=12)),
    max_size=8,
)


@given(STEPS, st.lists(WORDS | st.sampled_from(["a", "ab", "b a", "aab b"]), max_size=5), st.integers(0, 9))
def test_what_indexes_find_is_what_a_look_at_every_title_finds(steps, texts, limit):
    indexed, scanned = ItemTable([], [], []), ItemTable([], [], [])

    def search(table, unindexed, text):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(items, "_UNINDEXED", unindexed)
            patch.setattr(items, "_OF_AN_INDEX", 6)
            return table.search(text, limit)

    for number, (what, titles) in enumerate(steps):
        for table in (indexed, scanned):
            ids = [f"{number}-{n}" for n in range(len(titles))]
            if what == "remove":
                table.remove(sorted(table.row_of)[: len(titles)])
                continue
            first = table.append(ids, titles, [()] * len(titles))
            search(table, 2 if table is indexed else 10**6, "a")  # titles that are not known yet
            if what == "add":
                table.publish(first)
            else:
                table.withdraw(first)
        for text in (*texts, *titles):
            assert search(indexed, 2, text) == search(scanned, 10**6, text)
