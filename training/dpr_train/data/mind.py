# MIND (Microsoft News): click histories and impressions, in the layout of the official archives.

import hashlib
from pathlib import Path

import polars as pl

from dpr_train.data.assemble import Origin, assemble
from dpr_train.data.checks import Interactions, check_items
from dpr_train.data.dataset import Dataset
from dpr_train.data.errors import DataError
from dpr_train.data.items import ItemTable
from dpr_train.data.mind_files import OFFICIAL_URL, MindPart, find_parts, read_behaviours, read_news
from dpr_train.data.source_files import local_source
from dpr_train.data.tags import keep_frequent_tags

LICENCE = (
    "MIND (Microsoft): Microsoft Research License Terms, for research and not for commercial use; no "
    f"redistribution; {OFFICIAL_URL}. Cite F. Wu et al., MIND: A Large-scale Dataset for News Recommendation, "
    "ACL 2020, doi:10.18653/v1/2020.acl-main.331"
)

_MIN_TAG_ITEMS, _MAX_TAGS = 30, 80


def load_mind(source: str | Path | None, cache_dir: Path, min_interactions: int) -> Dataset:
    """Load MIND.

    A user's sequence is the history, then the clicked news of the impressions by time; of several clicks of a
    user on one news the first counts. Clicks on news that the news files do not list are left out and noted.

    Parameters
    ----------
    source : str or Path or None
        A folder with ``MINDsmall_train`` and perhaps ``MINDsmall_dev``, unpacked or as ``.zip``; one of those;
        or a folder with one ``*behaviors*.tsv`` and one or more ``*news*.tsv``. There is no default: the data
        are not downloaded.
    cache_dir : Path
        Not used.
    min_interactions : int
        The k of the k-core.

    Returns
    -------
    Dataset
        Tags are categories and subcategories, at most the 80 most frequent of those that at least 30 items
        carry; texts are title and abstract.

    Raises
    ------
    DataError
        If the source is not given or cannot be read, or no clicked news is listed.
    """
    folder = local_source(
        source,
        "mind is not downloaded: its licence is to be accepted first",
        expected=f"a folder with MINDsmall_train of {OFFICIAL_URL}",
    )
    parts = find_parts(folder)
    items = _merged([check_items(table) for part in parts for table in read_news(part)])
    impressions = pl.concat([read_behaviours(part) for part in parts])
    clicks, repeats = _clicks(impressions)
    interactions, notes = _listed(clicks, items)
    once = f"an interaction is a user's first click on a news: {repeats} later ones left out"
    origin = Origin(
        name="mind",
        sha256=_sha256(parts),
        licence=LICENCE,
        redistributable=False,
        notes=(f"impressions read: {len(impressions)}", once, *notes),
    )
    dataset = assemble(items, interactions, origin, min_interactions=min_interactions)
    return keep_frequent_tags(dataset, _MIN_TAG_ITEMS, at_most=_MAX_TAGS)


def _merged(tables: list[ItemTable]) -> ItemTable:
    """Return the news of all tables; of a news that several list, the first row."""
    first: dict[str, tuple[ItemTable, int]] = {}
    for table in tables:
        for row, item in enumerate(table.ids):
            first.setdefault(item, (table, row))
    return ItemTable(
        ids=tuple(first),
        titles=tuple(table.titles[row] for table, row in first.values()),
        tags=tuple(table.tags[row] for table, row in first.values()),
        texts=tuple(table.texts[row] if table.texts else "" for table, row in first.values()),
    )


def _clicks(impressions: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Order all clicks: for each impression, by time, what its history adds and then what was clicked.

    Returns columns ``user`` and ``item``, each pair once, and the number of clicks left out for that.
    """
    in_time = impressions.sort("time", maintain_order=True).with_row_index("rank")
    # Impressions of a user repeat the history, most often word for word.
    histories = in_time.unique(["user", "history"], keep="first", maintain_order=True)
    phases = [
        frame.select("user", "rank", pl.lit(phase).alias("phase"), item=pl.col(column))
        .explode("item")
        .drop_nulls("item")
        for phase, (frame, column) in enumerate([(histories, "history"), (in_time, "clicked")])
    ]
    ordered = pl.concat(phases).sort("rank", "phase", maintain_order=True).select("user", "item")
    once = ordered.unique(maintain_order=True, keep="first")
    return once, len(ordered) - len(once)


def _listed(clicks: pl.DataFrame, items: ItemTable) -> tuple[Interactions, tuple[str, ...]]:
    """Keep the clicks on listed news, and note what is lost."""
    rows = clicks["item"].replace_strict(items.ids, range(len(items)), default=None, return_dtype=pl.Int64)
    listed = rows.is_not_null()
    clicked, missing = clicks["item"].n_unique(), clicks.filter(~listed)["item"].n_unique()
    lost = int((~listed).sum())
    if not listed.any():
        raise DataError(
            "no clicked news is listed",
            expected="rows in the news files for the news of the behaviours",
            got=f"{lost} clicks on {missing} news without a row",
        )
    kept = clicks.filter(listed)
    interactions = Interactions(
        users=kept["user"],
        item_rows=rows.filter(listed),
        times=pl.int_range(len(kept), dtype=pl.Int64, eager=True),
    )
    note = f"news without a row in the news files: {missing} of {clicked} clicked; {lost} clicks on them left out"
    return interactions, ((note,) if lost else ())


def _sha256(parts: list[MindPart]) -> str:
    """Return the checksum of one part, or of one line a part."""
    sums = [part.files.sha256((part.behaviours, *part.news)) for part in parts]
    if len(sums) == 1:
        return sums[0]
    lines = [f"{value}  {part.files.path.name}\n" for value, part in zip(sums, parts, strict=True)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
