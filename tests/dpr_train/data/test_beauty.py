# Amazon Beauty: the layout in small, in files that the tests write.

import zipfile
from pathlib import Path

import pytest

from dpr_train.data import DataError, load_dataset

HEADER = "item_id\tasin\ttitle\tkeywords_idgenrec\tattribute_ids_s3rec\tattributes\n"
N_ITEMS = 31


def items() -> list[str]:
    lines = [
        f"{n}\tB{n:04}\tSoap {n}\tsoap no {n}\t1,2\tBath &amp; Body|Hand Soaps" for n in range(1, N_ITEMS + 1)
    ]
    lines[0] = (
        "1\tB0001\tBurt&#39;s  Soap!\tburts soap\t1,1,3\tBath &amp; Body|Bath &amp; Body|Burt&#39;s Bees"
    )
    lines[1] = "2\tB0002\t\tna categories beauty\t1,2\tBath &amp; Body|Hand Soaps"
    return lines


def write(folder: Path, *, sequences: str | None = None, table: str | None = None) -> Path:
    taken = " ".join(str(n) for n in range(N_ITEMS, 0, -1))
    lines = sequences or "".join(f"{user} {taken}\n" for user in range(1, 6))
    (folder / "Beauty.txt").write_text(lines, encoding="utf-8")
    (folder / "Beauty.items.tsv").write_text(table or HEADER + "\n".join(items()) + "\n", encoding="utf-8")
    return folder


def refusal(source: Path | str | None) -> DataError:
    with pytest.raises(DataError) as caught:
        load_dataset("beauty", source=source)
    return caught.value


def test_sequences_and_items(tmp_path: Path) -> None:
    data = load_dataset("beauty", source=write(tmp_path))
    assert (data.name, data.n_users, data.n_items) == ("beauty", 5, N_ITEMS)
    assert [rows.tolist() for rows in data.sequences] == [list(range(N_ITEMS - 1, -1, -1))] * 5
    assert data.items.titles[0] == "Burt's Soap!"
    assert data.items.texts is not None
    assert data.items.texts[0] == "Burt's Soap! burts soap."
    assert data.items.texts[2] == "Soap 3. soap no 3."
    assert not data.redistributable
    assert "not redistributable" in data.licence


def test_tags_are_attributes_of_30_items_or_more(tmp_path: Path) -> None:
    data = load_dataset("beauty", source=write(tmp_path))
    assert data.items.tags[0] == ("Bath & Body",)
    assert data.items.tags[2] == ("Bath & Body", "Hand Soaps")
    assert data.report.notes[-1] == "tags left out: 1, carried by fewer than 30 items"


def test_an_item_without_a_title_is_named_after_its_last_attribute(tmp_path: Path) -> None:
    data = load_dataset("beauty", source=write(tmp_path))
    assert data.items.titles[1] == "Hand Soaps (B0002)"
    assert data.items.texts is not None
    assert data.items.texts[1] == "Hand Soaps (B0002)."
    assert "items without a title, named after their last attribute: 1" in data.report.notes


def test_a_zip_holds_the_same(tmp_path: Path) -> None:
    folder = write(tmp_path)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("Beauty.txt", "Beauty.items.tsv"):
            archive.write(folder / name, f"beauty/{name}")
    data = load_dataset("beauty", source=tmp_path / "a.zip")
    assert data.items.titles == load_dataset("beauty", source=folder).items.titles


@pytest.mark.parametrize("source", [None, "official", "pypi"])
def test_it_is_not_downloaded(source: str | None) -> None:
    error = refusal(source)
    assert error.what == "beauty is not downloaded"
    assert "https://jmcauley.ucsd.edu/data/amazon/" in str(error)


def test_bad_files_are_named(tmp_path: Path) -> None:
    assert refusal(tmp_path).what == "file not found"
    error = refusal(write(tmp_path, sequences="1 1 2\n2 1 99\n"))
    assert (error.row, error.what, error.got) == ("line 2", "unknown item", "'99'")
    error = refusal(write(tmp_path, table="item\ttitle\n1\tSoap\n"))
    assert (error.row, error.what) == ("line 1", "unexpected header")
    error = refusal(write(tmp_path, table=HEADER + "1\tSoap\n"))
    assert (error.row, error.what) == ("line 2", "wrong number of fields")
