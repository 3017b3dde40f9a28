# Tags worth keeping: a tag that few items carry can neither be learnt nor measured.

import dataclasses

from dpr_train.data.dataset import Dataset
from dpr_train.data.items import ItemTable


def keep_frequent_tags(dataset: Dataset, min_items: int, *, at_most: int | None = None) -> Dataset:
    """Drop the rare tags of a data set and note in the report how many they were.

    Parameters
    ----------
    dataset : Dataset
        After the k-core: only items of the data set count.
    min_items : int
        A tag carried by fewer items goes.
    at_most : int, optional
        Of the other tags, keep the most frequent ones, of equals the first by code point; by default all.

    Returns
    -------
    Dataset
        The same items and sequences. An item may be left without tags.
    """
    items = dataset.items
    counts = dict(zip(items.tag_names, items.tag_matrix.sum(axis=0).tolist(), strict=True))
    frequent = [tag for tag in items.tag_names if counts[tag] >= min_items]
    kept = set(sorted(frequent, key=lambda tag: (-counts[tag], tag))[:at_most])
    dropped = len(counts) - len(kept)
    if not dropped:
        return dataset
    limit = "" if len(kept) == len(frequent) else f" or not among the {at_most} most frequent"
    note = f"tags left out: {dropped}, carried by fewer than {min_items} items{limit}"
    return dataclasses.replace(
        dataset,
        items=ItemTable(
            ids=items.ids,
            titles=items.titles,
            tags=tuple(tuple(tag for tag in tags if tag in kept) for tags in items.tags),
            texts=items.texts,
        ),
        report=dataclasses.replace(dataset.report, notes=(*dataset.report.notes, note)),
    )
