# Amazon Beauty and MIND, where local copies lie.

import os
from pathlib import Path

import numpy as np
import pytest

from dpr_train.data import Dataset, load_dataset

ROOT = Path(__file__).resolve().parents[3]

pytestmark = pytest.mark.slow


def local_copy(variable: str, name: str) -> Path:
    folder = Path(os.environ.get(variable, ROOT.parent / "shared" / "data" / name))
    if not folder.is_dir():
        pytest.skip(f"{name} is not here: set {variable} to a folder with it")
    return folder


@pytest.fixture(scope="module")
def beauty() -> Dataset:
    return load_dataset("beauty", source=local_copy("DPR_BEAUTY_DIR", "amazon-beauty"))


@pytest.fixture(scope="module")
def mind() -> Dataset:
    return load_dataset("mind", source=local_copy("DPR_MIND_DIR", "mind-small-sample"))


def test_beauty_counts(beauty: Dataset) -> None:
    assert (beauty.n_users, beauty.n_items, beauty.n_interactions) == (22_363, 12_101, 198_502)
    assert np.bincount(np.concatenate(beauty.sequences)).min() >= 5


def test_beauty_items(beauty: Dataset) -> None:
    assert len(beauty.tag_names) == 84
    assert beauty.tag_matrix.sum(axis=0).min() >= 30
    assert beauty.tag_matrix.any(axis=1).all()
    assert "Burt's Bees" in beauty.tag_names
    assert beauty.items.titles[beauty.items.ids.index("495")] == "Hair Sprays (B001DJ2USM)"
    assert "items without a title, named after their last attribute: 7" in beauty.report.notes


def test_mind(mind: Dataset) -> None:
    # What holds for an excerpt and for the whole alike.
    assert mind.n_users > 1000
    assert mind.n_items > 1000
    assert all(len(set(rows.tolist())) == len(rows) for rows in mind.sequences)
    assert {"news", "sports", "NFL football"} <= set(mind.tag_names)
    assert len(mind.tag_names) <= 80
    assert mind.tag_matrix.sum(axis=0).min() >= 30
    assert mind.items.texts is not None
    assert all(mind.items.texts)
