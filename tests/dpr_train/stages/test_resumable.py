# Interrupted and continued must be the same as never stopped, bit for bit.

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dpr_train.stages.resumable import Metrics, ResumableStage, cosine_lr, seed_everything

EPOCHS = 6
SCORES = [0.1, 0.5, 0.3, 0.5, 0.4, 0.2]  # the best is epoch 1, the first of equals


class StopError(Exception):
    pass


class Job:
    """A small training with dropout, all three generators and an optimizer with state."""

    def __init__(self, folder: Path, *, stop_after: int = EPOCHS) -> None:
        torch.manual_seed(0)
        self.module = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1))
        self.optimizer = torch.optim.AdamW(self.module.parameters(), lr=0.05)
        self.stop_after = stop_after
        self.stage = ResumableStage(folder, "job", self.module, self.optimizer, seed=7)
        self.at_end: list[dict[str, torch.Tensor]] = []

    def run(self, better: Callable[[Metrics], float] | None = None) -> list[Metrics]:
        return self.stage.run(EPOCHS, self._epoch, better=better)

    def weights(self) -> dict[str, torch.Tensor]:
        return {k: v.clone() for k, v in self.module.state_dict().items()}

    def _epoch(self, epoch: int, rng: np.random.Generator) -> Metrics:
        total = 0.0
        for step in range(3):
            if epoch == self.stop_after and step == 1:  # amid an epoch, after some damage
                raise StopError
            x = (
                torch.from_numpy(rng.standard_normal((16, 4)).astype(np.float32))
                + torch.rand(1) * random.random()
            )
            loss = (self.module(x) - x.sum(1, keepdim=True)).square().mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        self.at_end.append(self.weights())
        return {"loss": total, "score": SCORES[epoch]}


def score(metrics: Metrics) -> float:
    return metrics["score"]


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("better", [None, score])
@pytest.mark.parametrize("stops", [[0], [1], [3], [2, 4, 5]])
def test_an_interrupted_run_ends_like_one_that_was_not(
    tmp_path: Path, stops: list[int], better: Callable[[Metrics], float] | None
) -> None:
    whole = Job(tmp_path / "whole")
    log = whole.run(better)
    for stop in stops:
        with pytest.raises(StopError):
            Job(tmp_path / "parts", stop_after=stop).run(better)
    last = Job(tmp_path / "parts")
    assert last.run(better) == log
    assert len(last.at_end) == EPOCHS - stops[-1]
    assert_same(last.weights(), whole.weights())
    assert_same(last.weights(), whole.at_end[1 if better else -1])


def test_a_finished_stage_runs_nothing_again(tmp_path: Path) -> None:
    first, again = Job(tmp_path), Job(tmp_path)
    log = first.run(score)
    assert again.run(score) == log
    assert again.at_end == []
    assert_same(again.weights(), first.weights())


def test_no_epoch_repeats_the_draws_of_another(tmp_path: Path) -> None:
    drawn = []

    def epoch(_: int, rng: np.random.Generator) -> Metrics:
        drawn.extend([rng.random(), torch.rand(1).item(), random.random()])
        return {}

    Job(tmp_path).stage.run(EPOCHS, epoch)
    assert len(set(drawn)) == 3 * EPOCHS


def test_the_best_epoch_before_a_stop_is_kept_across_it(tmp_path: Path) -> None:
    with pytest.raises(StopError):
        Job(tmp_path, stop_after=3).run(score)
    best = Job(tmp_path / "other")
    best.run()
    resumed = Job(tmp_path)
    resumed.run(score)  # epoch 3 scores the same as epoch 1 and must not replace it
    assert_same(resumed.weights(), best.at_end[1])


def test_a_torn_file_is_not_read(tmp_path: Path) -> None:
    whole = Job(tmp_path / "whole")
    log = whole.run(score)
    with pytest.raises(StopError):
        Job(tmp_path / "parts", stop_after=2).run(score)
    for name in ("progress", "best"):
        (tmp_path / "parts" / f"{name}.partial").write_bytes(b"\x10\x00\x00")
    last = Job(tmp_path / "parts")
    assert last.run(score) == log
    assert_same(last.weights(), whole.weights())


def test_epochs_stages_and_seeds_draw_different_numbers() -> None:
    drawn = set()
    for seed, stage, epoch in ((0, "a", 0), (0, "a", 1), (0, "b", 0), (1, "a", 0)):
        rng = seed_everything(seed, stage, epoch)
        drawn |= {(random.random(), torch.rand(1).item(), rng.random())}
        again = seed_everything(seed, stage, epoch)
        drawn |= {(random.random(), torch.rand(1).item(), again.random())}
    assert len(drawn) == 4


def test_learning_rate_warms_up_and_falls_to_nothing() -> None:
    optimizer = torch.optim.SGD([{"params": [nn.Parameter(torch.zeros(1))], "base_lr": 2.0}], lr=1.0)
    rates = []
    for step in range(10):
        cosine_lr(optimizer, step, 10, warmup=4)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates[:5] == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0])
    assert all(a > b for a, b in pairwise(rates[4:]))
    assert rates[7] == pytest.approx(1.0)
    assert 0 < rates[-1] < 0.2
