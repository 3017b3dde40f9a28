# A small invented data set with structure to learn, for tests and quick starts. It stands for no real data.

import hashlib
from itertools import product

import numpy as np
import numpy.typing as npt
import polars as pl

from dpr_train.data.assemble import Origin, assemble
from dpr_train.data.checks import Interactions
from dpr_train.data.dataset import Dataset
from dpr_train.data.errors import DataError
from dpr_train.data.items import BoolArray, ItemTable

TAG_WORDS = (
    *("comedy", "horror", "romance", "war", "western", "musical"),
    *("crime", "fantasy", "mystery", "adventure", "animation", "documentary"),
)
_ADJECTIVES = (
    *("Amber", "Broken", "Crimson", "Distant", "Electric", "Forgotten", "Golden", "Hidden", "Iron", "Joyful"),
    *(
        "Last",
        "Midnight",
        "Northern",
        "Paper",
        "Quiet",
        "Restless",
        "Silver",
        "Tender",
        "Velvet",
        "Wandering",
    ),
)
_NOUNS = (
    *("Anchor", "Bridge", "Canyon", "Dance", "Echo", "Fortune", "Garden", "Harbour", "Island", "Journey"),
    *("Kingdom", "Lantern", "Mirror", "Night", "Orchard", "Promise", "River", "Shadow", "Train", "Valley"),
)
_SECOND_TAG = 0.35  # share of items with two tags
_FOLLOW = 0.5  # how often a user goes on to the successor of the last item
_TASTE = (4.0, 2.0)  # weight of the favourite tag and of the second; each other tag weighs 0.1
_LENGTHS = (8, 24)  # shortest and longest sequence, before it is capped by the number of items


def make_synthetic(n_users: int = 200, n_items: int = 120, n_tags: int = 6, seed: int = 0) -> Dataset:
    """Invent users with tastes and habits.

    Each item has a tag, some a second one. A user loves two tags and likes the others little. The items of a
    tag form a ring: with probability 0.5 the next item is the successor of the last one (a pattern that a
    sequential model can learn), else a random one from a tag of the user's taste. No user takes an item
    twice.

    Parameters
    ----------
    n_users : int
        Number of users, >= 1.
    n_items : int
        Number of items, from ``n_tags`` and 3 to 400. With few users some items may stay without
        interactions; those are left out.
    n_tags : int
        Number of tags, 2 to 12.
    seed : int
        Seed of the generator; the same arguments give the same data set.

    Returns
    -------
    Dataset
        Redistributable, without texts. Sequences have 8 to 24 items, fewer only if there are fewer items.

    Raises
    ------
    DataError
        If an argument is out of its range.

    Examples
    --------
    >>> data = make_synthetic(n_users=20, n_items=12, n_tags=3)
    >>> data.n_users, data.n_items, data.tag_names
    (20, 12, ('comedy', 'horror', 'romance'))
    """
    _check_range("n_users", n_users, 1, 10**6)
    _check_range("n_tags", n_tags, 2, len(TAG_WORDS))
    _check_range("n_items", n_items, max(n_tags, 3), len(_ADJECTIVES) * len(_NOUNS))
    rng = np.random.default_rng(seed)
    items = _invent_items(n_items, n_tags, rng)
    has_tag = np.array([[word in tags for word in TAG_WORDS[:n_tags]] for tags in items.tags])  # (N, G)
    rows = [_invent_sequence(user, has_tag, rng) for user in range(n_users)]
    lengths = [len(sequence) for sequence in rows]
    interactions = Interactions(
        users=pl.Series([f"u{user:04d}" for user in range(n_users)]).gather(
            np.repeat(range(n_users), lengths)
        ),
        item_rows=pl.Series(np.concatenate(rows)),
        times=pl.Series(np.arange(sum(lengths), dtype=np.int64)),
    )
    arguments = f"n_users={n_users}, n_items={n_items}, n_tags={n_tags}, seed={seed}"
    origin = Origin(
        name="synthetic",
        sha256=hashlib.sha256(
            arguments.encode()
        ).hexdigest(),  # there is no file; the arguments are the source
        licence="invented data, free to use",
        redistributable=True,
        notes=(f"invented: {arguments}",),
    )
    return assemble(items, interactions, origin, min_interactions=1)


def _check_range(name: str, value: int, low: int, high: int) -> None:
    """Refuse an argument outside low..high."""
    if not low <= value <= high:
        raise DataError(f"bad {name}", expected=f"{low}..{high}", got=str(value))


def _invent_items(n_items: int, n_tags: int, rng: np.random.Generator) -> ItemTable:
    """Invent titles and tags; item n has the tag n % n_tags, so all tags are about as frequent."""
    pairs = [" ".join(words) for words in product(_ADJECTIVES, _NOUNS)]
    names = rng.permutation(pairs)[:n_items]
    years = rng.integers(1950, 2020, n_items)
    tags = []
    for item in range(n_items):
        own = item % n_tags
        other = (own + int(rng.integers(1, n_tags))) % n_tags
        chosen = [own, other] if rng.random() < _SECOND_TAG else [own]
        tags.append(tuple(TAG_WORDS[tag] for tag in sorted(chosen)))
    return ItemTable(
        ids=tuple(f"i{item:03d}" for item in range(n_items)),
        titles=tuple(f"The {name} ({year})" for name, year in zip(names, years, strict=True)),
        tags=tuple(tags),
    )


def _invent_sequence(user: int, has_tag: BoolArray, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Invent one user's items, oldest first; the first is item number user % N, so that none is left out."""
    n_items, n_tags = has_tag.shape
    sequence = [user % n_items]
    favourite = sequence[0] % n_tags  # the first item's own tag
    second = (favourite + int(rng.integers(1, n_tags))) % n_tags
    taste = np.full(n_tags, 0.1)
    taste[[favourite, second]] = _TASTE
    weight = has_tag @ taste  # (N,)
    fresh = np.ones(n_items, dtype=np.bool_)
    fresh[sequence] = False
    low, high = min(_LENGTHS[0], n_items), min(_LENGTHS[1], n_items)
    for _ in range(int(rng.integers(low, high + 1)) - 1):
        successor = sequence[-1] + n_tags  # the next item of the same tag
        successor = successor if successor < n_items else successor % n_tags
        if not (fresh[successor] and rng.random() < _FOLLOW):
            open_weight = weight * fresh
            successor = int(rng.choice(n_items, p=open_weight / open_weight.sum()))
        sequence.append(successor)
        fresh[successor] = False
    return np.array(sequence, dtype=np.int64)
