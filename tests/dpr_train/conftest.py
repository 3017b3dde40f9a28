# A random encoder and a trained checkpoint, made once; tests that change one work on a copy.

from __future__ import annotations

from pathlib import Path

import pytest

from dpr_train.checkpoint import Checkpoint, load_checkpoint
from tiny_model import tiny_checkpoint, tiny_encoder_folder


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face folder with random weights. Read only."""
    return tiny_encoder_folder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session")
def checkpoint_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that a real training left. Read only."""
    return tiny_checkpoint(tmp_path_factory.mktemp("trained") / "checkpoint")


@pytest.fixture(scope="session")
def checkpoint(checkpoint_folder: Path) -> Checkpoint:
    return load_checkpoint(checkpoint_folder)
