# The files of MIND: where they lie, and the rows of behaviors.tsv and news.tsv.

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from dpr_train.data.errors import DataError
from dpr_train.data.lines import read_lines
from dpr_train.data.mind_tags import readable_tag
from dpr_train.data.sentences import sentences
from dpr_train.data.source_files import SourceFiles
from dpr_train.data.table import Table, first_true

OFFICIAL_URL = "https://msnews.github.io"

_FOLDERS = ("MINDsmall_train", "MINDsmall_dev")
_BEHAVIOUR_COLUMNS = ("impression", "user", "time", "history", "impressions")
_SHORT_NEWS_COLUMNS = ("id", "category", "subcategory", "title")
_NEWS_COLUMNS = (*_SHORT_NEWS_COLUMNS, "abstract", "url", "title_entities", "abstract_entities")
_TIME_FORMAT = "%m/%d/%Y %I:%M:%S %p"
_IMPRESSIONS = r"^(\S+-[01]( +|$))*$"


@dataclass(frozen=True, kw_only=True)
class MindPart:
    """One folder or archive of MIND.

    Parameters
    ----------
    files : SourceFiles
        Where they are.
    behaviours : str
        Name of the file of impressions.
    news : tuple of str
        Names of the files of news, sorted.
    """

    files: SourceFiles
    behaviours: str
    news: tuple[str, ...]


def find_parts(source: Path) -> list[MindPart]:
    """Find the files of MIND.

    Parameters
    ----------
    source : Path
        A folder with ``MINDsmall_train`` and perhaps ``MINDsmall_dev``, unpacked or as ``.zip``; or a folder or
        zip that holds the files themselves.

    Returns
    -------
    list of MindPart
        Train before dev.

    Raises
    ------
    DataError
        If there is no file of impressions, or several, or no file of news.
    """
    inside = []
    for name in _FOLDERS:
        there = [path for path in (source / name, source / f"{name}.zip") if path.exists()]
        inside += there[:1]
    return [_part(SourceFiles(path)) for path in inside or [source]]


def _part(files: SourceFiles) -> MindPart:
    """Tell the files of impressions and of news by their names."""
    tables = [name for name in files.names if name.endswith(".tsv")]
    behaviours = [name for name in tables if "behaviors" in name]
    news = [name for name in tables if "news" in name and name not in behaviours]
    if len(behaviours) != 1 or not news:
        raise DataError(
            "no MIND files",
            file=str(files.path),
            expected="one behaviors.tsv and a news.tsv (or *behaviors*.tsv and *news*.tsv)",
            got=f"{len(behaviours)} and {len(news)}",
        )
    return MindPart(files=files, behaviours=behaviours[0], news=tuple(news))


def read_behaviours(part: MindPart) -> pl.DataFrame:
    """Read the impressions of one part.

    Parameters
    ----------
    part : MindPart
        The files.

    Returns
    -------
    polars.DataFrame
        Columns ``user``, ``time`` (datetime), ``history`` and ``clicked`` (lists of news ids, oldest first),
        one row an impression.

    Raises
    ------
    DataError
        If a line has another number of fields, no user, a bad time or impressions without labels.
    """
    table = read_lines(
        part.files.read(part.behaviours),
        part.files.label(part.behaviours),
        separator="\t",
        columns=_BEHAVIOUR_COLUMNS,
        encoding="utf-8",
    )
    table.require(_BEHAVIOUR_COLUMNS)
    frame = table.frame
    times = frame["time"].str.to_datetime(_TIME_FORMAT, strict=False)
    _refuse(table, "user", frame["user"].str.strip_chars() == "", "a user id")
    _refuse(table, "time", times.is_null(), "a time such as 11/12/2019 2:14:46 PM")
    _refuse(
        table,
        "impressions",
        ~frame["impressions"].str.contains(_IMPRESSIONS),
        "news ids, each with -1 (clicked) or -0, separated by blanks",
    )
    clicked = (
        pl.col("impressions")
        .str.extract_all(r"\S+-1(?: |$)")
        .list.eval(pl.element().str.strip_chars().str.strip_suffix("-1"))
    )
    return frame.select(
        "user",
        times.alias("time"),
        history=pl.col("history").str.extract_all(r"\S+"),
        clicked=clicked,
    )


def read_news(part: MindPart) -> list[Table]:
    """Read the news of one part.

    Parameters
    ----------
    part : MindPart
        The files.

    Returns
    -------
    list of Table
        One a file: columns ``id``, ``title``, ``tags`` (category and subcategory) and ``text`` (title and
        abstract). A news without a title is called after its category and id.

    Raises
    ------
    DataError
        If a line has neither the 8 columns of the official files nor the first 4 of them.
    """
    return [_news_table(part.files, name) for name in part.news]


def _news_table(files: SourceFiles, name: str) -> Table:
    data = files.read(name)
    short = data.partition(b"\n")[0].count(b"\t") + 1 == len(_SHORT_NEWS_COLUMNS)
    table = read_lines(
        data,
        files.label(name),
        separator="\t",
        columns=_SHORT_NEWS_COLUMNS if short else _NEWS_COLUMNS,
        encoding="utf-8",
    )
    titles, tags, texts = [], [], []
    for row in table.frame.iter_rows(named=True):
        category, subcategory = readable_tag(row["category"]), readable_tag(row["subcategory"])
        title = " ".join(row["title"].split()) or f"{category or 'news'} {row['id']}"
        titles.append(title)
        tags.append([category, subcategory])  # the checks drop empty and equal ones
        texts.append(sentences(title, " ".join(row.get("abstract", "").split())))
    frame = pl.DataFrame(
        {
            "id": table.frame["id"],
            "title": pl.Series(titles, dtype=pl.String),
            "tags": pl.Series(tags, dtype=pl.List(pl.String)),
            "text": pl.Series(texts, dtype=pl.String),
        }
    )
    return Table(file=table.file, frame=frame, locate=table.locate)


def _refuse(table: Table, column: str, bad: pl.Series, expected: str) -> None:
    """Refuse the first value that is marked as bad."""
    index = first_true(bad)
    if index is not None:
        raise table.error(
            f"bad {column}", column=column, index=index, expected=expected, got=table.frame[column][index]
        )
