# MIND: the official layout in small, in files that the tests write.

import zipfile
from pathlib import Path

import pytest

from dpr_train.data import DataError, Dataset, load_dataset

NEWS = [
    ("N1", "sports", "football_nfl", "Who won?", "A game."),
    ("N2", "tv", "tv-celebrity", "A star", ""),
    ("N3", "weather", "weathertopstories", "Rain", "More rain."),
    ("N4", "news", "newsus", "", "No title."),
    ("N5", "news", "", "Plain", 'Text with a "quote'),
    ("N6", "kids", "kids-games", "Play", ""),
]
BEHAVIOURS = [
    # Out of time, as in the official files; U1's history is repeated in each of its impressions.
    ("1", "U1", "11/12/2019 2:14:46 PM", "N1 N2 N1", "N5-1 N3-0"),
    ("2", "U2", "11/9/2019 11:09:43 AM", "", "N3-1 N9-1 N2-1"),
    ("3", "U1", "11/12/2019 9:14:46 AM", "N1 N2 N1", "N4-0 N3-1 N2-1"),
]
LATER = [
    ("1", "U1", "11/15/2019 12:00:01 AM", "N1 N2 N3 N6 N5", "N4-1"),
    ("2", "U3", "11/15/2019 8:00:00 AM", "N1", "N2-0"),
]


def behaviours(rows: list[tuple[str, ...]]) -> str:
    return "".join("\t".join(row) + "\n" for row in rows)


def news(rows: list[tuple[str, ...]], *, columns: int = 8) -> str:
    rest = ("https://a.example", "[]", "[]")
    return "".join("\t".join((*row, *rest)[:columns]) + "\n" for row in rows)


def write(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def train_files() -> dict[str, str]:
    return {"behaviors.tsv": behaviours(BEHAVIOURS), "news.tsv": news(NEWS)}


def load(source: Path) -> Dataset:
    return load_dataset("mind", source=source, min_interactions=1)


def clicks(data: Dataset) -> dict[str, list[str]]:
    return {
        user: [data.items.ids[row] for row in rows]
        for user, rows in zip(data.user_ids, data.sequences, strict=True)
    }


def refusal(source: Path | str | None) -> DataError:
    with pytest.raises(DataError) as caught:
        load_dataset("mind", source=source, min_interactions=1)
    return caught.value


def test_history_then_clicks_by_time_each_news_once(tmp_path: Path) -> None:
    data = load(write(tmp_path, train_files()))
    assert clicks(data) == {"U2": ["N3", "N2"], "U1": ["N1", "N2", "N3", "N5"]}
    assert not data.redistributable
    assert "not for commercial use" in data.licence


def test_the_report_says_what_was_left_out(tmp_path: Path) -> None:
    report = load(write(tmp_path, train_files())).report
    assert (report.rows_read, report.interactions, report.items_listed) == (6, 6, 6)
    assert report.notes[:3] == (
        "impressions read: 3",
        "an interaction is a user's first click on a news: 2 later ones left out",
        "news without a row in the news files: 1 of 5 clicked; 1 clicks on them left out",
    )


@pytest.mark.parametrize("zipped", [False, True])
def test_train_and_dev(tmp_path: Path, zipped: bool) -> None:
    parts = {
        "MINDsmall_train": train_files(),
        "MINDsmall_dev": {"behaviors.tsv": behaviours(LATER), "news.tsv": news(NEWS[:4])},
    }
    for name, files in parts.items():
        if not zipped:
            write(tmp_path / name, files)
            continue
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            for file, content in files.items():
                archive.writestr(f"{name}/{file}", content)
    data = load(tmp_path)
    # What the history of a later impression adds comes before that impression's clicks.
    assert clicks(data)["U1"] == ["N1", "N2", "N3", "N5", "N6", "N4"]
    assert clicks(data)["U3"] == ["N1"]
    alone = load(tmp_path / ("MINDsmall_train.zip" if zipped else "MINDsmall_train"))
    assert clicks(alone)["U1"] == ["N1", "N2", "N3", "N5"]
    assert alone.source_sha256 != data.source_sha256


def frequent(tmp_path: Path) -> Dataset:
    """Thirty copies of each news, so that no tag is rare, all clicked by one user."""
    rows = [(f"{row[0]}x{copy}", *row[1:]) for copy in range(30) for row in NEWS]
    history = " ".join(row[0] for row in rows)
    files = {
        "behaviors.tsv": behaviours([("1", "U", "1/1/2019 1:00:00 AM", history, "")]),
        "news.tsv": news(rows),
    }
    return load(write(tmp_path, files))


def test_tags_have_readable_names(tmp_path: Path) -> None:
    data = frequent(tmp_path)
    assert data.items.tags[:6] == (
        ("sports", "NFL football"),
        ("TV", "celebrities"),
        ("weather",),
        ("news", "US news"),
        ("news",),
        ("kids", "kids games"),
    )


def test_titles_and_texts(tmp_path: Path) -> None:
    items = frequent(tmp_path).items
    assert items.titles[:4] == ("Who won?", "A star", "Rain", "news N4x0")
    assert items.texts is not None
    assert items.texts[:2] == ("Who won? A game.", "A star.")
    assert items.texts[4] == 'Plain. Text with a "quote.'
    assert items.descriptions[0] == "Who won? sports, NFL football. A game."


def test_rare_tags_go(tmp_path: Path) -> None:
    data = load(write(tmp_path, train_files()))
    assert data.tag_names == ()
    assert data.report.notes[-1].startswith("tags left out: 6, carried by fewer than 30 items")


def test_an_excerpt_with_other_names_and_short_rows(tmp_path: Path) -> None:
    files = {
        "some_behaviors_3.tsv": behaviours(BEHAVIOURS),
        "a_news.tsv": news(NEWS[:1]),
        "b_news.tsv": news(NEWS, columns=4),
    }
    data = load(write(tmp_path, files))
    assert clicks(data)["U1"] == ["N1", "N2", "N3", "N5"]
    assert data.items.texts is not None
    assert data.items.texts[:3] == ("Who won? A game.", "A star.", "Rain.")


@pytest.mark.parametrize("source", [None, "official", "pypi"])
def test_it_is_not_downloaded(source: str | None) -> None:
    error = refusal(source)
    assert error.what.startswith("mind is not downloaded")
    assert "https://msnews.github.io" in str(error)


def test_a_source_without_the_files(tmp_path: Path) -> None:
    assert refusal(tmp_path / "absent").what == "no such folder or file"
    assert refusal(tmp_path).what == "no MIND files"
    assert refusal(write(tmp_path, train_files() | {"more_behaviors.tsv": ""})).got == "2 and 1"


def test_no_clicked_news_is_listed(tmp_path: Path) -> None:
    error = refusal(write(tmp_path, train_files() | {"news.tsv": news([("N7", *NEWS[0][1:])])}))
    assert (error.what, error.got) == ("no clicked news is listed", "7 clicks on 5 news without a row")


@pytest.mark.parametrize(
    ("name", "content", "row", "what"),
    [
        (
            "behaviors.tsv",
            "1\tU1\t1/1/2019 1:00:00 AM\tN1\tN1-1\n1\tU1\n",
            "line 2",
            "wrong number of fields",
        ),
        ("behaviors.tsv", "1\tU1\t2019-01-01\tN1\tN1-1\n", "line 1", "bad time"),
        ("behaviors.tsv", "1\t \t1/1/2019 1:00:00 AM\tN1\tN1-1\n", "line 1", "bad user"),
        ("behaviors.tsv", "1\tU1\t1/1/2019 1:00:00 AM\tN1\tN1 N2\n", "line 1", "bad impressions"),
        ("behaviors.tsv", "", None, "the file has no rows"),
        ("news.tsv", "N1\tsports\n", "line 1", "wrong number of fields"),
        ("news.tsv", news(NEWS[:1]) + news(NEWS[:1]), "line 2", "doubled item id"),
        ("news.tsv", "", None, "the file has no rows"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, name: str, content: str, row: str | None, what: str) -> None:
    error = refusal(write(tmp_path, train_files() | {name: content}))
    assert (error.row, error.what) == (row, what)
    assert error.file == str(tmp_path / name)
