# Amazon Beauty (2014, 5-core): sequences and an item table made from McAuley's reviews and metadata.

import html
from pathlib import Path

import polars as pl

from dpr_train.data.assemble import Origin, assemble
from dpr_train.data.checks import TAG_SEPARATOR, check_interactions, check_items
from dpr_train.data.dataset import Dataset
from dpr_train.data.lines import read_lines
from dpr_train.data.sentences import sentences
from dpr_train.data.sequence_lines import read_sequence_lines
from dpr_train.data.source_files import SourceFiles, local_source
from dpr_train.data.table import Table
from dpr_train.data.tags import keep_frequent_tags

OFFICIAL_URL = "https://jmcauley.ucsd.edu/data/amazon/"
LICENCE = (
    "Amazon product data 2014 (J. McAuley, UC San Diego): for research; not redistributable, as the titles and "
    "reviews are Amazon's and its users'. Cite J. McAuley, C. Targett, Q. Shi and A. van den Hengel, Image-based "
    "Recommendations on Styles and Substitutes, SIGIR 2015, doi:10.1145/2766462.2767755"
)

_SEQUENCES, _ITEMS = "Beauty.txt", "Beauty.items.tsv"
_ITEM_COLUMNS = ("item_id", "asin", "title", "keywords_idgenrec", "attribute_ids_s3rec", "attributes")
_MIN_TAG_ITEMS = 30


def load_beauty(source: str | Path | None, cache_dir: Path, min_interactions: int) -> Dataset:
    """Load Amazon Beauty.

    Parameters
    ----------
    source : str or Path or None
        A folder or zip with ``Beauty.txt`` (a line a user: the user, then the items, oldest first) and
        ``Beauty.items.tsv``. There is no default: the data are not downloaded.
    cache_dir : Path
        Not used.
    min_interactions : int
        The k of the k-core.

    Returns
    -------
    Dataset
        22,363 users, 12,101 items and 198,502 interactions with k = 5. Tags are the attributes (categories
        and brands) that at least 30 items carry; texts are title and keywords.

    Raises
    ------
    DataError
        If the source is not given or cannot be read.
    """
    wanted = f"a folder or zip with {_SEQUENCES} and {_ITEMS} (made from {OFFICIAL_URL})"
    files = SourceFiles(local_source(source, "beauty is not downloaded", expected=wanted))
    items, untitled = _items(files)
    item_table = check_items(items)
    interactions = read_sequence_lines(files.read(_SEQUENCES), files.label(_SEQUENCES))
    notes = ["the source holds sequences: reviews dropped before it was made are not counted here"]
    notes += [f"items without a title, named after their last attribute: {untitled}"] if untitled else []
    origin = Origin(
        name="beauty",
        sha256=files.sha256((_SEQUENCES, _ITEMS)),
        licence=LICENCE,
        redistributable=False,
        notes=tuple(notes),
    )
    dataset = assemble(
        item_table, check_interactions(interactions, item_table), origin, min_interactions=min_interactions
    )
    return keep_frequent_tags(dataset, _MIN_TAG_ITEMS)


def _items(files: SourceFiles) -> tuple[Table, int]:
    """Read the item table, and count the items without a title."""
    table = read_lines(
        files.read(_ITEMS),
        files.label(_ITEMS),
        separator="\t",
        columns=_ITEM_COLUMNS,
        encoding="utf-8",
        header="\t".join(_ITEM_COLUMNS),
    )
    titles, tags, texts, untitled = [], [], [], 0
    for row in table.frame.iter_rows(named=True):
        attributes = _plain(row["attributes"])
        title, keywords = _plain(row["title"]), _plain(row["keywords_idgenrec"])
        if not title:
            # Keywords of such items are remains of the metadata ("na categories beauty ..."): no text.
            untitled += 1
            last = attributes.split(TAG_SEPARATOR)[-1].strip() or "Beauty"
            title, keywords = f"{last} ({row['asin']})", ""
        titles.append(title)
        tags.append(attributes)
        texts.append(sentences(title, keywords))
    frame = pl.DataFrame(
        {"id": table.frame["item_id"], "title": titles, "tags": tags, "text": texts},
        schema_overrides=dict.fromkeys(("title", "tags", "text"), pl.String),
    )
    return Table(file=table.file, frame=frame, locate=table.locate), untitled


def _plain(text: str) -> str:
    """Return a text without HTML entities and without stray blanks."""
    return " ".join(html.unescape(text).split())
