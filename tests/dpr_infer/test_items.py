# The item table and its search.

from __future__ import annotations

import pytest

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
