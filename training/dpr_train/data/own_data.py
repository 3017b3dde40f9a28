# A data set of the user's own: one file of interactions and one of items; and the way back to such files.

import csv
from pathlib import Path

from dpr_train.data.assemble import Origin, assemble
from dpr_train.data.checks import TAG_SEPARATOR, check_interactions, check_items
from dpr_train.data.dataset import Dataset
from dpr_train.data.errors import DataError
from dpr_train.data.items import ItemTable
from dpr_train.data.own_files import SUFFIXES, read_own_file
from dpr_train.data.source_files import combined_sha256
from dpr_train.data.table import Table

_USED = {"interactions": ("user", "item", "timestamp", "rating"), "items": ("id", "title", "tags", "text")}
_FIRST_TIME = 1_700_000_000  # seconds; where the invented timestamps of written sequences start


def find_own_files(folder: Path) -> tuple[Path, Path]:
    """Return the paths of the two files in a folder.

    Parameters
    ----------
    folder : Path
        A folder with ``interactions`` and ``items``, each ``.csv`` or ``.parquet``.

    Returns
    -------
    tuple of Path
        Interactions, items.

    Raises
    ------
    DataError
        If one of the two is missing or there both as CSV and as Parquet.
    """
    found = []
    for stem in _USED:
        there = [path for suffix in SUFFIXES if (path := folder / f"{stem}{suffix}").is_file()]
        if len(there) != 1:
            raise DataError(
                f"no {stem} file" if not there else f"two {stem} files",
                file=str(folder),
                expected=f"{' or '.join(stem + suffix for suffix in SUFFIXES)}, one of them",
                got=" and ".join(path.name for path in there) or "neither",
            )
        found += there
    return found[0], found[1]


def load_own_data(interactions: Path, items: Path, *, name: str, min_interactions: int) -> Dataset:
    """Load a data set from the user's own files.

    Parameters
    ----------
    interactions : Path
        CSV or Parquet with the columns ``user``, ``item``, ``timestamp`` and perhaps ``rating``.
    items : Path
        CSV or Parquet with the columns ``id``, ``title``, ``tags`` and perhaps ``text``.
    name : str
        Name of the data set.
    min_interactions : int
        The k of the k-core.

    Returns
    -------
    Dataset
        Not redistributable: the loader cannot know the terms. ``dataclasses.replace`` sets ``licence`` and
        ``redistributable``.

    Raises
    ------
    DataError
        If a file breaks a rule; the message names file, column and line.
    """
    item_source, interaction_source = read_own_file(items), read_own_file(interactions)
    item_table = check_items(item_source)
    checked = check_interactions(interaction_source, item_table)
    notes = [
        *_ignored_columns(interaction_source, "interactions"),
        *_ignored_columns(item_source, "items"),
        *_tags_differing_in_case(item_table),
    ]
    origin = Origin(
        name=name,
        sha256=combined_sha256([interactions, items]),
        licence="not stated: own data",
        redistributable=False,
        notes=tuple(notes),
    )
    return assemble(item_table, checked, origin, min_interactions=min_interactions)


def write_own_data(dataset: Dataset, folder: str | Path) -> tuple[Path, Path]:
    """Write a data set as CSV in the layout of own data.

    A data set does not hold timestamps, so invented ones are written, one minute apart in each sequence.
    Loading the files with ``min_interactions=1`` gives the same users, sequences and items.

    Parameters
    ----------
    dataset : Dataset
        What to write.
    folder : str or Path
        Created if missing; files of the same names are replaced.

    Returns
    -------
    tuple of Path
        ``interactions.csv`` and ``items.csv``.

    Raises
    ------
    DataError
        If a tag contains ``|``, which separates tags in CSV.
    """
    target = Path(folder)
    barred = next((tag for tag in dataset.tag_names if TAG_SEPARATOR in tag), None)
    if barred is not None:
        raise DataError("a tag cannot be written to CSV", expected="tags without '|'", got=repr(barred))
    target.mkdir(parents=True, exist_ok=True)
    interactions, items = target / "interactions.csv", target / "items.csv"
    with interactions.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["user", "item", "timestamp"])
        for user, sequence in zip(dataset.user_ids, dataset.sequences, strict=True):
            for place, row in enumerate(sequence.tolist()):
                writer.writerow([user, dataset.items.ids[row], _FIRST_TIME + 60 * place])
    with items.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        table = dataset.items
        writer.writerow(["id", "title", "tags"] + (["text"] if table.texts is not None else []))
        for row, (item, title, tags) in enumerate(zip(table.ids, table.titles, table.tags, strict=True)):
            text = [table.texts[row]] if table.texts is not None else []
            writer.writerow([item, title, TAG_SEPARATOR.join(tags), *text])
    return interactions, items


def _ignored_columns(table: Table, stem: str) -> list[str]:
    """Note the columns that are not used."""
    ignored = [column for column in table.frame.columns if column not in _USED[stem]]
    return [f"columns of {stem} not used: {', '.join(ignored)}"] if ignored else []


def _tags_differing_in_case(items: ItemTable) -> list[str]:
    """Note tags that are most likely one tag spelt in two ways."""
    by_folded: dict[str, list[str]] = {}
    for tag in items.tag_names:
        by_folded.setdefault(tag.casefold(), []).append(tag)
    return [
        f"tags that differ in case alone: {', '.join(tags)}" for tags in by_folded.values() if len(tags) > 1
    ]
