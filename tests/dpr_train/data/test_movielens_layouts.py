# The MovieLens layouts, each in small: five users who rated five films, in files that the tests write.

import json
import zipfile
from pathlib import Path

import pytest

from dpr_train.data import DataError, Dataset, load_dataset

GENRES = 19
RATINGS = [
    (str(user), str(item), "4", str(880000000 + user - item)) for user in range(1, 6) for item in range(1, 6)
]
TITLES = [
    "Toy Story (1995)",
    "Godfather, The (1972)",
    "unknown",
    "Cérémonie, La (1995)",
    "Seven (Se7en) (1995)",
]
READABLE = (
    "Toy Story (1995)",
    "The Godfather (1972)",
    "unknown",
    "La Cérémonie (1995)",
    "Seven (Se7en) (1995)",
)
FLAGS = {1: [3, 4, 5], 2: [1, 8], 3: [0], 4: [8], 5: [6, 16]}
TAGS = (("Animation", "Children's", "Comedy"), ("Action", "Drama"), (), ("Drama",), ("Crime", "Thriller"))


def official_100k() -> dict[str, bytes]:
    items = []
    for number, title in enumerate(TITLES, start=1):
        flags = ["1" if genre in FLAGS[number] else "0" for genre in range(GENRES)]
        items.append("|".join([str(number), title, "01-Jan-1995", "", "http://a.example", *flags]))
    ratings = "".join("\t".join(rating) + "\n" for rating in RATINGS)
    return {"u.data": ratings.encode(), "u.item": "\n".join([*items, ""]).encode("latin-1")}


def wheel_100k() -> dict[str, bytes]:
    items = ["item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"]
    for number, title in enumerate(TITLES, start=1):
        misspelt = "unkonwn"  # as the wheel has it; codespell:ignore unkonwn
        name, year = (misspelt, misspelt) if title == "unknown" else (title[:-7], title[-5:-1])
        items.append(f"{number}\t{name}\t{year}\t{' '.join(TAGS[number - 1]) or 'unknown'}")
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    ratings = header + "".join("\t".join(rating) + "\n" for rating in RATINGS)
    return {"ml-100k.inter": ratings.encode(), "ml-100k.item": "\n".join([*items, ""]).encode()}


def files_1m(*, sequences: bool, abstracts: bool = False) -> dict[str, bytes]:
    movies = "".join(
        f"{n}::{title}::{'|'.join(TAGS[n - 1])}\n" for n, title in enumerate(TITLES, start=1)
    ).encode("latin-1")
    if sequences:
        history = {"ml1m_sequences.txt": b"".join(b"%d 5 4 3 2 1\n" % user for user in range(1, 6))}
    else:
        history = {"ratings.dat": "".join("::".join(rating) + "\n" for rating in RATINGS).encode()}
    texts = {"dbpedia_abstracts.json": json.dumps({"1": "Toys."}).encode()} if abstracts else {}
    return {"movies.dat": movies} | history | texts


def as_folder(files: dict[str, bytes], path: Path) -> Path:
    path.mkdir()
    for name, content in files.items():
        (path / name).write_bytes(content)
    return path


def as_zip(files: dict[str, bytes], path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"some/folder/{name}", content)
    return path


def check(data: Dataset) -> None:
    assert (data.n_users, data.n_items, data.n_interactions) == (5, 5, 25)
    assert data.items.titles == READABLE
    assert data.items.tags == TAGS
    assert [rows.tolist() for rows in data.sequences] == [[4, 3, 2, 1, 0]] * 5
    assert not data.redistributable
    assert "no redistribution" in data.licence


@pytest.mark.parametrize("files", [official_100k(), wheel_100k()], ids=["official", "wheel"])
def test_ml_100k(files: dict[str, bytes], tmp_path: Path) -> None:
    for source in (as_folder(files, tmp_path / "folder"), as_zip(files, tmp_path / "a.zip")):
        data = load_dataset("ml-100k", source=source)
        check(data)
        assert data.items.texts is None


@pytest.mark.parametrize("sequences", [False, True], ids=["official", "sequences"])
def test_ml_1m(sequences: bool, tmp_path: Path) -> None:
    files = files_1m(sequences=sequences)
    for source in (as_folder(files, tmp_path / "folder"), as_zip(files, tmp_path / "a.zip")):
        data = load_dataset("ml-1m", source=source)
        check(data)
        assert data.items.texts is None
        assert len(data.report.notes) == sequences


def test_ml_1m_abstracts_are_texts_with_their_own_licence(tmp_path: Path) -> None:
    files = files_1m(sequences=True, abstracts=True)
    data = load_dataset("ml-1m", source=as_folder(files, tmp_path / "folder"))
    assert data.items.texts == ("Toys.", "", "", "", "")
    assert "CC BY-SA" in data.licence
    assert data.items.descriptions[0] == "Toy Story (1995). Animation, Children's, Comedy. Toys."


def test_checksums_follow_the_content(tmp_path: Path) -> None:
    files = files_1m(sequences=True)
    sums = {load_dataset("ml-1m", source=as_folder(files, tmp_path / name)).source_sha256 for name in "ab"}
    assert len(sums) == 1
    changed = as_folder(files | {"movies.dat": files["movies.dat"] + b"9::Nine::\n"}, tmp_path / "c")
    sums.add(load_dataset("ml-1m", source=changed).source_sha256)
    with_texts = as_folder(files_1m(sequences=True, abstracts=True), tmp_path / "d")
    sums.add(load_dataset("ml-1m", source=with_texts).source_sha256)
    assert len(sums) == 3


def refusal(name: str, source: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        load_dataset(name, source=source)
    return caught.value


def test_a_source_without_the_files(tmp_path: Path) -> None:
    assert refusal("ml-100k", tmp_path).what == "no MovieLens-100K files"
    assert refusal("ml-1m", tmp_path).what == "no MovieLens-1M interactions"
    files = files_1m(sequences=True)
    del files["movies.dat"]
    assert refusal("ml-1m", as_folder(files, tmp_path / "folder")).what == "file not found"


def test_a_source_that_is_nothing_readable(tmp_path: Path) -> None:
    assert refusal("ml-100k", tmp_path / "absent").what == "no such folder or file"
    (tmp_path / "a.zip").write_text("no zip")
    assert refusal("ml-100k", tmp_path / "a.zip").what == "not a zip"


def test_a_zip_with_two_files_of_one_name(tmp_path: Path) -> None:
    path = as_zip(official_100k(), tmp_path / "a.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other/u.data", "")
    assert refusal("ml-100k", path).what == "several files of one name"


def test_a_damaged_member(tmp_path: Path) -> None:
    path = as_zip(official_100k(), tmp_path / "a.zip")
    path.write_bytes(path.read_bytes().replace(b"880000000", b"880000001"))
    assert refusal("ml-100k", path).what == "damaged zip"


@pytest.mark.parametrize(
    ("name", "content", "row", "what"),
    [
        ("u.data", b"1\t1\t4\t5\n1\t1\t4\n", "line 2", "wrong number of fields"),
        ("u.data", b"1\t1\t4\t5\n\n1\t9\t4\t5\n", "line 3", "unknown item"),
        ("u.data", b"1\t1\tx\t5\n", "line 1", "bad rating"),
        ("u.data", b"1\t1\t4\t5\n\xff\t1\t4\t5\n", "line 2", "bad encoding"),
        ("u.data", b"", None, "the file has no rows"),
        ("u.item", b"1|Toy Story (1995)\n", "line 1", "wrong number of fields"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, name: str, content: bytes, row: str | None, what: str) -> None:
    error = refusal("ml-100k", as_folder(official_100k() | {name: content}, tmp_path / "folder"))
    assert (error.row, error.what) == (row, what)
    assert error.file == str(tmp_path / "folder" / name)


def test_a_wheel_layout_with_another_header(tmp_path: Path) -> None:
    files = wheel_100k()
    files["ml-100k.inter"] = b"user\titem\n" + files["ml-100k.inter"]
    error = refusal("ml-100k", as_folder(files, tmp_path / "folder"))
    assert (error.row, error.what) == ("line 1", "unexpected header")


def test_sequences_may_repeat_an_item(tmp_path: Path) -> None:
    files = files_1m(sequences=True) | {"ml1m_sequences.txt": b"7 2 1 2\n"}
    data = load_dataset("ml-1m", source=as_folder(files, tmp_path / "folder"), min_interactions=1)
    assert [data.items.ids[row] for row in data.sequences[0]] == ["2", "1", "2"]


def test_sequences_name_their_line(tmp_path: Path) -> None:
    files = files_1m(sequences=True) | {"ml1m_sequences.txt": b"1 1 2\n\n2 1 77\n"}
    error = refusal("ml-1m", as_folder(files, tmp_path / "folder"))
    assert (error.row, error.got) == ("line 3", "'77'")


@pytest.mark.parametrize(
    ("content", "what"), [(b"{", "not JSON"), (b"[]", "unexpected JSON"), (b'{"1": 2}', "unexpected JSON")]
)
def test_bad_abstracts(tmp_path: Path, content: bytes, what: str) -> None:
    files = files_1m(sequences=True) | {"dbpedia_abstracts.json": content}
    assert refusal("ml-1m", as_folder(files, tmp_path / "folder")).what == what


def test_ml_1m_is_in_no_wheel(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such source of ml-1m; expected 'official', a folder or a zip"):
        load_dataset("ml-1m", source="pypi", cache_dir=tmp_path)


def test_a_line_separator_of_latin_1_does_not_end_a_line(tmp_path: Path) -> None:
    files = files_1m(sequences=True)
    files["movies.dat"] = files["movies.dat"].replace(b"Toy Story", b"Toy\x85Story").replace(b"\n", b"\r\n")
    data = load_dataset("ml-1m", source=as_folder(files, tmp_path / "folder"))
    assert data.items.titles[0] == "Toy Story (1995)"
