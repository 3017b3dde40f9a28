# MovieLens-1M, in GroupLens's own layout and as ready-made sequences with the same movies.dat.

import json
from pathlib import Path

import polars as pl

from dpr_train.data.dataset import Dataset
from dpr_train.data.download import download
from dpr_train.data.errors import DataError, shown
from dpr_train.data.lines import read_lines
from dpr_train.data.movielens import LICENCE, build
from dpr_train.data.sequence_lines import read_sequence_lines
from dpr_train.data.source_files import SourceFiles
from dpr_train.data.table import Table
from dpr_train.data.titles import readable_title

OFFICIAL_URL = "https://files.grouplens.org/datasets/movielens/ml-1m.zip"
OFFICIAL_MD5 = "c4d9eecfca2ab87c1945afe126590906"

_RATINGS, _MOVIES = "ratings.dat", "movies.dat"
_SEQUENCES, _ABSTRACTS = "ml1m_sequences.txt", "dbpedia_abstracts.json"
_ABSTRACTS_LICENCE = "; item texts: DBpedia abstracts, CC BY-SA"


def load_ml_1m(source: str | Path | None, cache_dir: Path, min_interactions: int) -> Dataset:
    """Load MovieLens-1M.

    Parameters
    ----------
    source : str or Path or None
        ``"official"`` (the default), or a folder or zip that holds ``movies.dat`` with either ``ratings.dat``
        or ``ml1m_sequences.txt`` (a line a user: the user, then the items, oldest first), and perhaps
        ``dbpedia_abstracts.json`` (an object from item id to text).
    cache_dir : Path
        Folder for downloads.
    min_interactions : int
        The k of the k-core.

    Returns
    -------
    Dataset
        6,040 users, 3,416 items and 999,611 interactions with k = 5. Tags are the genres.

    Raises
    ------
    DataError
        If the source cannot be read.
    FetchError
        If the download fails.
    """
    if source == "pypi":
        raise DataError("no such source of ml-1m", expected="'official', a folder or a zip", got="'pypi'")
    official = source is None or source == "official"
    files = SourceFiles(download(OFFICIAL_URL, OFFICIAL_MD5, cache_dir) if official else Path(str(source)))
    notes: tuple[str, ...] = ()
    if _RATINGS in files:
        history, interactions = _RATINGS, _ratings(files)
    elif _SEQUENCES in files:
        history = _SEQUENCES
        interactions = read_sequence_lines(files.read(_SEQUENCES), files.label(_SEQUENCES))
        notes = ("the source holds sequences: ratings dropped before it was made are not counted here",)
    else:
        raise DataError(
            "no MovieLens-1M interactions",
            file=str(files.path),
            expected=f"{_RATINGS} or {_SEQUENCES}",
            got="neither",
        )
    names = [history, _MOVIES] + ([_ABSTRACTS] if _ABSTRACTS in files else [])
    return build(
        "ml-1m",
        interactions,
        _movies(files),
        sha256=files.sha256(names),
        min_interactions=min_interactions,
        licence=LICENCE + (_ABSTRACTS_LICENCE if _ABSTRACTS in files else ""),
        notes=notes,
    )


def _ratings(files: SourceFiles) -> Table:
    """Read ratings.dat: user, item, rating, timestamp."""
    columns = ("user", "item", "rating", "timestamp")
    return read_lines(
        files.read(_RATINGS), files.label(_RATINGS), separator="::", columns=columns, encoding="latin-1"
    )


def _movies(files: SourceFiles) -> Table:
    """Read movies.dat: title with year, genres separated by '|'; add the abstracts if they are there."""
    label = files.label(_MOVIES)
    table = read_lines(
        files.read(_MOVIES), label, separator="::", columns=("id", "title", "tags"), encoding="latin-1"
    )
    frame = table.frame.with_columns(
        title=pl.Series([readable_title(title) for title in table.frame["title"]])
    )
    if _ABSTRACTS in files:
        abstracts = _abstracts(files)
        frame = frame.with_columns(text=pl.Series([abstracts.get(item, "") for item in frame["id"]]))
    return Table(file=label, frame=frame, locate=table.locate)


def _abstracts(files: SourceFiles) -> dict[str, str]:
    """Read the object from item id to text."""
    label = files.label(_ABSTRACTS)
    try:
        abstracts = json.loads(files.read(_ABSTRACTS))
    except ValueError as error:
        raise DataError("not JSON", file=label, expected="one object of strings", got=str(error)) from error
    if not isinstance(abstracts, dict) or not all(isinstance(text, str) for text in abstracts.values()):
        raise DataError("unexpected JSON", file=label, expected="one object of strings", got=shown(abstracts))
    return abstracts
