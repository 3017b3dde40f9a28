# Stage 1 with every loss and backbone: it learns a rule, is resumed bit for bit, and keeps the average.

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dpr_train.backbones import Backbone, build_backbone
from dpr_train.config import BackboneConfig, BackboneStage
from dpr_train.stages.backbone import next_item_metrics, train_backbone
from dpr_train.stages.resumable import Metrics

N_ITEMS, LONGEST = 30, 8
QUICK = {"bf16": True, "batch_tokens": 120, "average": 0.9}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("sasrec", {}),
    ("sasrec", QUICK),
    ("sasrec", {"loss": "gbce", "negatives": 8}),
    ("gru4rec", {"loss": "gbce", "negatives": 8, "average": 0.9}),
    ("bert4rec", {"mask_share": 0.3}),
    ("bert4rec", QUICK),
]


class StopError(Exception):
    pass


def sequences() -> tuple[list[np.ndarray], np.ndarray]:
    """After item i comes i + 1."""
    rng = np.random.default_rng(0)
    whole = [(rng.integers(0, N_ITEMS) + np.arange(length)) % N_ITEMS for length in rng.integers(2, 13, 150)]
    return [sequence[:-1] for sequence in whole], np.array([sequence[-1] for sequence in whole])


def train(
    folder: Path, kind: str, changes: dict[str, Any], *, epochs: int = 4, stop: int | None = None
) -> tuple[Backbone, list[Metrics]]:
    torch.manual_seed(0)
    quick = "batch_tokens" in changes
    config = BackboneConfig(
        kind=kind,
        dim=16,
        max_history=LONGEST,
        hidden=24,
        dropout=0.1,
        relative_bias=quick,
        quick_dropout=quick,
    )
    backbone = build_backbone(config, N_ITEMS)
    train_part, targets = sequences()

    def progress(what: str, done: int, total: int, text: str, /) -> None:
        if stop is not None and done > total * stop // epochs:
            raise StopError

    stage = BackboneStage.model_validate({"epochs": epochs, "lr": 1e-2, "evaluate_every": 1} | changes)
    log = train_backbone(backbone, train_part, targets, stage, seed=1, folder=folder, progress=progress)
    return backbone, log


@pytest.mark.parametrize(("kind", "changes"), CASES)
def test_it_learns_and_leaves_the_best_epoch(tmp_path: Path, kind: str, changes: dict[str, Any]) -> None:
    backbone, log = train(tmp_path, kind, changes, epochs=20)
    best = max(metrics["valid_ndcg@10"] for metrics in log)
    assert best > 0.8  # chance is near 0.15
    assert next_item_metrics(backbone, *sequences())["ndcg@10"] == pytest.approx(best)


@pytest.mark.parametrize(("kind", "changes"), CASES)
def test_a_resumed_run_ends_with_the_same_bits(tmp_path: Path, kind: str, changes: dict[str, Any]) -> None:
    whole, log = train(tmp_path / "whole", kind, changes)
    with pytest.raises(StopError):
        train(tmp_path / "parts", kind, changes, stop=2)
    parts, resumed_log = train(tmp_path / "parts", kind, changes)
    assert resumed_log == log
    for key, value in whole.state_dict().items():
        assert torch.equal(parts.state_dict()[key], value), key
