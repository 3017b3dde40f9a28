# MovieLens-100K, in GroupLens's own layout and in the layout that travels in the recbole wheel.

from pathlib import Path

import polars as pl

from dpr_train.data.dataset import Dataset
from dpr_train.data.download import download
from dpr_train.data.errors import DataError
from dpr_train.data.lines import read_lines
from dpr_train.data.movielens import build, has_all
from dpr_train.data.source_files import SourceFiles
from dpr_train.data.table import Table
from dpr_train.data.titles import readable_title
from dpr_train.data.wheel import fetch_wheel

WHEEL = "recbole==1.2.1"
WHEEL_SHA256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"
OFFICIAL_URL = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
OFFICIAL_MD5 = "0e33842e24a9c977be4e0107933c0723"

_OFFICIAL_FILES = ("u.data", "u.item")
_WHEEL_FILES = ("ml-100k.inter", "ml-100k.item")
_WHEEL_INTER_HEADER = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
_WHEEL_ITEM_HEADER = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"
_RATING_COLUMNS = ("user", "item", "rating", "timestamp")
_NO_TAG = "unknown"  # the data set's word for "no genre given"
# One film of the data set has no title; the wheel misspells that.
_UNKNOWN_TITLES = {"unknown", "unkonwn"}  # codespell:ignore unkonwn
_GENRES = (
    *(_NO_TAG, "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama"),
    *(
        "Fantasy",
        "Film-Noir",
        "Horror",
        "Musical",
        "Mystery",
        "Romance",
        "Sci-Fi",
        "Thriller",
        "War",
        "Western",
    ),
)
_ITEM_COLUMNS = ("id", "title", "released", "video_released", "address", *_GENRES)


def load_ml_100k(source: str | Path | None, cache_dir: Path, min_interactions: int) -> Dataset:
    """Load MovieLens-100K.

    Parameters
    ----------
    source : str or Path or None
        ``"pypi"`` (the default: the wheel ``recbole==1.2.1``), ``"official"``, or a folder or zip in one of
        the two layouts.
    cache_dir : Path
        Folder for downloads.
    min_interactions : int
        The k of the k-core.

    Returns
    -------
    Dataset
        943 users, 1,349 items and 99,287 interactions with k = 5. Tags are the genres.

    Raises
    ------
    DataError
        If the source cannot be read.
    FetchError
        If a download fails.
    """
    if source is None or source == "pypi":
        files = SourceFiles(fetch_wheel(WHEEL, WHEEL_SHA256, cache_dir))
    elif source == "official":
        files = SourceFiles(download(OFFICIAL_URL, OFFICIAL_MD5, cache_dir))
    else:
        files = SourceFiles(source)
    if has_all(files, _OFFICIAL_FILES):
        names, interactions, items = _OFFICIAL_FILES, _official_interactions(files), _official_items(files)
    elif has_all(files, _WHEEL_FILES):
        names, interactions, items = _WHEEL_FILES, _wheel_interactions(files), _wheel_items(files)
    else:
        raise DataError(
            "no MovieLens-100K files",
            file=str(files.path),
            expected=f"{' and '.join(_OFFICIAL_FILES)}, or {' and '.join(_WHEEL_FILES)}",
            got="neither pair",
        )
    return build(
        "ml-100k", interactions, items, sha256=files.sha256(names), min_interactions=min_interactions
    )


def _official_interactions(files: SourceFiles) -> Table:
    """Read u.data: user, item, rating, timestamp."""
    name = _OFFICIAL_FILES[0]
    return read_lines(
        files.read(name), files.label(name), separator="\t", columns=_RATING_COLUMNS, encoding="utf-8"
    )


def _wheel_interactions(files: SourceFiles) -> Table:
    """Read ml-100k.inter: the same columns below a header."""
    name = _WHEEL_FILES[0]
    return read_lines(
        files.read(name),
        files.label(name),
        separator="\t",
        columns=_RATING_COLUMNS,
        encoding="utf-8",
        header=_WHEEL_INTER_HEADER,
    )


def _official_items(files: SourceFiles) -> Table:
    """Read u.item: title with year, and one flag a genre."""
    name = _OFFICIAL_FILES[1]
    table = read_lines(
        files.read(name), files.label(name), separator="|", columns=_ITEM_COLUMNS, encoding="latin-1"
    )
    tags = [
        [genre for genre in _GENRES if genre != _NO_TAG and flags[genre] == "1"]
        for flags in table.frame.select(_GENRES).iter_rows(named=True)
    ]
    titles = [_title(title, "") for title in table.frame["title"]]
    return _with_columns(table, titles, tags)


def _wheel_items(files: SourceFiles) -> Table:
    """Read ml-100k.item: title, year, and the genres separated by blanks."""
    name = _WHEEL_FILES[1]
    table = read_lines(
        files.read(name),
        files.label(name),
        separator="\t",
        columns=("id", "title", "year", "genres"),
        encoding="utf-8",
        header=_WHEEL_ITEM_HEADER,
    )
    tags = [[genre for genre in genres.split() if genre != _NO_TAG] for genres in table.frame["genres"]]
    titles = [_title(title, year) for title, year in table.frame.select("title", "year").iter_rows()]
    return _with_columns(table, titles, tags)


def _title(title: str, year: str) -> str:
    """Return the readable title; the film without one is "unknown" in both layouts."""
    return "unknown" if title in _UNKNOWN_TITLES else readable_title(title, year)


def _with_columns(table: Table, titles: list[str], tags: list[list[str]]) -> Table:
    """Return the table of ids, titles and tags."""
    frame = pl.DataFrame(
        {"id": table.frame["id"], "title": titles, "tags": pl.Series(tags, dtype=pl.List(pl.String))}
    )
    return Table(file=table.file, frame=frame, locate=table.locate)
