# The moving average against its recursion, and a stage that keeps it.

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dpr_train.stages.average import WeightAverage
from dpr_train.stages.resumable import Metrics, ResumableStage


def test_it_follows_its_recursion() -> None:
    module = nn.Linear(1, 1, bias=False)
    module.weight.data.fill_(4.0)
    average = WeightAverage(module, 0.6)
    expected = 4.0
    for n, value in enumerate([1.0, -2.0, 5.0, 7.0, 3.0, 2.0, 9.0, 1.0, 0.0, 6.0, 8.0, 2.0, 4.0, 4.0], 1):
        module.weight.data.fill_(value)
        average.update()
        decay = min(0.6, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * value
        with average.applied():
            assert module.weight.item() == pytest.approx(expected, rel=1e-5)
        assert module.weight.item() == value


def test_the_weights_come_back_after_an_error() -> None:
    module = nn.Linear(2, 2)
    average = WeightAverage(module, 0.5)
    module.weight.data.add_(1.0)
    own = module.weight.detach().clone()
    inside = []
    with pytest.raises(ValueError, match="too many values"), average.applied():  # noqa: PT012
        inside.append(module.weight.detach().clone())
        (_,) = "two"
    assert not torch.equal(inside[0], own)
    assert torch.equal(module.weight, own)


class StopError(Exception):
    pass


def train(folder: Path, *, best: bool, stop: int = 6) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5), nn.Linear(3, 1))
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.05)
    average = WeightAverage(module, 0.8)
    stage = ResumableStage(folder, "job", module, optimizer, 7, average)

    def epoch(number: int, rng: np.random.Generator) -> Metrics:
        for step in range(3):
            if number == stop and step == 1:
                raise StopError
            x = torch.from_numpy(rng.standard_normal((8, 3)).astype(np.float32))
            optimizer.zero_grad()
            (module(x) - x.sum(1, keepdim=True)).square().mean().backward()
            optimizer.step()
            average.update()
        return {"score": -abs(number - 3.0)}

    stage.run(6, epoch, better=(lambda m: m["score"]) if best else None)
    with average.applied():
        state = {k: v.clone() for k, v in module.state_dict().items()}
    kept = {k: v.clone() for k, v in module.state_dict().items()}
    assert best or all(torch.equal(kept[k], state[k]) for k in kept)  # the last average is what is left
    return kept


@pytest.mark.parametrize("best", [False, True])
@pytest.mark.parametrize("stops", [[1], [4], [2, 5]])
def test_an_interrupted_stage_keeps_the_same_average(tmp_path: Path, best: bool, stops: list[int]) -> None:
    whole = train(tmp_path / "whole", best=best)
    for stop in stops:
        with pytest.raises(StopError):
            train(tmp_path / "parts", best=best, stop=stop)
    parts = train(tmp_path / "parts", best=best)
    assert all(torch.equal(whole[k], parts[k]) for k in whole)
