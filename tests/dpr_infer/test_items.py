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


def test_lookup():
    assert len(TABLE) == 7
    assert "3" in TABLE
    assert "x" not in TABLE
    assert TABLE.row_of["3"] == 3
