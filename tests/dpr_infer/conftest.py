# Bundles and recommenders that the tests of the runtime share.

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import tiny_bundle
from dpr_infer import Recommender


@pytest.fixture(scope="session")
def bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny bundle that no test may change."""
    return tiny_bundle.write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="session")
def recommender(bundle_path: Path) -> Recommender:
    return Recommender(bundle_path)


@pytest.fixture
def fresh(bundle_path: Path) -> Recommender:
    """A recommender whose prompt cache is empty."""
    return Recommender(bundle_path)


@pytest.fixture
def copy(bundle_path: Path, tmp_path: Path) -> Path:
    """A copy of the tiny bundle, to be damaged."""
    return Path(shutil.copytree(bundle_path, tmp_path / "copy"))


@pytest.fixture
def history(recommender: Recommender) -> list[str]:
    return list(recommender.examples["user 1"])
