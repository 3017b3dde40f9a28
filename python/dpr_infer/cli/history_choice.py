# Turns what a user types into a history: item ids, titles, or the name of an example.

from __future__ import annotations

from collections.abc import Callable, Sequence

from dpr_infer.errors import QueryError
from dpr_infer.items import ItemTable
from dpr_infer.recommender import Recommender

# Picks one of several rows that match a title, or None for none of them.
Pick = Callable[[str, Sequence[int]], int | None]


def from_ids(text: str) -> tuple[str, ...]:
    """Split "id,id,..." into ids; blanks around them are dropped."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def from_titles(text: str, items: ItemTable, pick: Pick) -> tuple[str, ...]:
    """Look up "title; title; ...".

    Parameters
    ----------
    text : str
        Titles, or beginnings of their words.
    items : ItemTable
        The catalogue's items.
    pick : callable
        Chooses where a title matches several items.

    Returns
    -------
    tuple of str
        Item ids in the order typed.

    Raises
    ------
    QueryError
        If nothing is like a title.
    """
    ids = []
    for title in filter(None, (part.strip() for part in text.split(";"))):
        rows = items.search(title)
        if not rows:
            raise QueryError(f"titles must be of this catalogue; nothing is like {title!r}")
        row = rows[0] if len(rows) == 1 else pick(title, rows)
        if row is not None:
            ids.append(items.ids[row])
    return tuple(ids)


def from_example(name: str, recommender: Recommender) -> tuple[str, ...]:
    """Return an example's history by its name, or its number from 1.

    Parameters
    ----------
    name : str
        Name or number.
    recommender : Recommender
        The opened bundle.

    Returns
    -------
    tuple of str
        Item ids, oldest first.

    Raises
    ------
    QueryError
        If there is no such example; the message lists some.
    """
    examples = recommender.examples
    if name in examples:
        return examples[name]
    names = list(examples)
    if name.isdecimal() and 1 <= int(name) <= len(names):
        return examples[names[int(name) - 1]]
    shown = ", ".join(repr(known) for known in names[:5]) + (", ..." if len(names) > 5 else "")
    raise QueryError(f"example must be one of this bundle's {len(names)} ({shown or 'none'}); got {name!r}")
