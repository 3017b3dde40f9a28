# Stage 3 with a backbone that learns: it moves with the experts, sees no prompt in its share, is resumed bit for bit.

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dpr_train.config import BackboneConfig, ModelConfig, PromptEncoderConfig, SteeringConfig, SteeringStage
from dpr_train.data import leave_one_out, make_synthetic
from dpr_train.model import DPR
from dpr_train.prompts import LabelledPrompt, Span
from dpr_train.stages.prompt_pool import PromptPool, obedient_items
from dpr_train.stages.resumable import Metrics
from dpr_train.stages.steering import train_steering
from dpr_train.stages.user_states import collect_user_states

BACKBONES = ("sasrec", "gru4rec", "bert4rec")
DATA = make_synthetic(n_users=40, n_items=36, n_tags=3, seed=3)
TRAIN = leave_one_out(DATA.sequences).train
STAGE = SteeringStage(epochs=2, batch_size=128, backbone_lr=1e-3)


class StopError(Exception):
    pass


@dataclass
class Setup:
    folder: Path  # of the prompt encoder

    def model(self, kind: str = "sasrec") -> DPR:
        torch.manual_seed(0)
        backbone = BackboneConfig.model_validate({"kind": kind, "dim": 16, "max_history": 6, "hidden": 16})
        config = ModelConfig(
            n_items=DATA.n_items,
            tags=DATA.tag_names,
            backbone=backbone,
            prompt_encoder=PromptEncoderConfig(max_tokens=16, layers=2, head_dim=8),
            steering=SteeringConfig(tag_dim=4, text_dim=0, fusion_dim=8, experts=("toward", "away")),
        )
        return DPR(config, DATA.tag_matrix, self.folder)

    def train(
        self,
        folder: Path,
        stage: SteeringStage = STAGE,
        *,
        kind: str = "sasrec",
        stop: float | None = None,
        **options: Any,
    ) -> tuple[DPR, list[Metrics]]:
        def progress(what: str, done: int, total: int, text: str, /) -> None:
            if stop is not None and done > total * stop:
                raise StopError

        model = self.model(kind)
        log = train_steering(
            model, TRAIN, pool(model), stage, seed=1, folder=folder, progress=progress, **options
        )
        return model, log


@pytest.fixture
def setup(encoder_folder: Path) -> Setup:
    return Setup(encoder_folder)


def pool(model: DPR) -> PromptPool:
    """Asks for and refuses each tag, understood without fault; the tokens are noise."""
    prompts = [
        LabelledPrompt("-", (Span(0, 1, tag, role),)) for tag in range(3) for role in ("ask", "refuse")
    ]
    wish = torch.zeros(len(prompts), 3, 2)
    for row, prompt in enumerate(prompts):
        wish[row, list(prompt.asked), 0] = 1
        wish[row, list(prompt.refused), 1] = 1
    return PromptPool(
        prompts,
        [(torch.randn(3, model.prompt_encoder.token_dim), w) for w in wish],
        np.stack([obedient_items(prompt, DATA.tag_matrix) for prompt in prompts]),
        wish[..., 0].numpy() > 0,
        wish[..., 1].numpy() > 0,
    )


def same(one: DPR, other: DPR) -> bool:
    states = one.state_dict(), other.state_dict()
    return all(torch.equal(value, states[1][key]) for key, value in states[0].items())


@pytest.mark.parametrize("kind", BACKBONES)
def test_backbone_and_experts_learn_and_the_prompt_encoder_does_not(
    setup: Setup, tmp_path: Path, kind: str
) -> None:
    fresh = setup.model(kind).state_dict()
    model, log = setup.train(tmp_path, SteeringStage(epochs=6, batch_size=64, backbone_lr=5e-3), kind=kind)
    for key, value in model.state_dict().items():
        frozen = key.startswith("prompt_encoder.") or "reader" in key
        moved = not torch.equal(value, fresh[key])
        if frozen or key in ("backbone.item_embedding.weight", "tag_parts", "fusion.query.weight"):
            assert moved is not frozen, key
    assert log[-1]["all"] < log[0]["all"] - 0.03
    assert log[-1]["target"] < log[0]["target"] - 0.03
    assert "plain" in log[-1]
    assert not model.backbone.training


@pytest.mark.parametrize("kind", BACKBONES)
def test_a_resumed_run_ends_with_the_same_bits(setup: Setup, tmp_path: Path, kind: str) -> None:
    whole, log = setup.train(tmp_path / "whole", kind=kind)
    with pytest.raises(StopError):
        setup.train(tmp_path / "parts", kind=kind, stop=0.75)
    parts, resumed_log = setup.train(tmp_path / "parts", kind=kind)
    assert resumed_log == log
    assert same(whole, parts)


def test_without_a_rate_the_backbone_stays_and_no_example_is_empty(setup: Setup, tmp_path: Path) -> None:
    frozen = STAGE.model_copy(update={"backbone_lr": 0.0})
    model, log = setup.train(tmp_path / "a", frozen)
    before = setup.model().backbone.state_dict()
    assert all(torch.equal(value, before[key]) for key, value in model.backbone.state_dict().items())
    assert "plain" not in log[-1]
    other, _ = setup.train(tmp_path / "b", frozen.model_copy(update={"empty_share": 0.9}))
    assert same(model, other)


def test_states_at_hand_give_what_computed_ones_do(setup: Setup, tmp_path: Path) -> None:
    frozen = STAGE.model_copy(update={"backbone_lr": 0.0})
    states = collect_user_states(setup.model().backbone, TRAIN, DATA.tag_matrix)
    computed, _ = setup.train(tmp_path / "a", frozen)
    given, _ = setup.train(tmp_path / "b", frozen, states=states)
    assert same(computed, given)


def test_no_example_is_empty_if_none_shall_be(setup: Setup, tmp_path: Path) -> None:
    _, log = setup.train(tmp_path, STAGE.model_copy(update={"empty_share": 0.0}))
    assert "plain" not in log[-1]
    assert log[-1]["all"] > log[-1]["target"]


def test_experts_without_attention_are_blind_to_the_tokens(setup: Setup) -> None:
    model = setup.model().eval()
    tokens, wish = torch.randn(2, 5, model.prompt_encoder.token_dim), torch.rand(1, 3, 2).expand(2, 3, 2)
    user, mask = torch.randn(1, 16).expand(2, 16), torch.ones(2, 5, dtype=torch.int64)
    torch.nn.init.normal_(model.fusion.experts["toward"].collaborative.weight)  # it begins at 0
    for attends in (True, False):
        model.fusion.token_attention = attends
        vectors, gates = model.fusion(user, tokens, mask, wish, model.tag_vectors)
        assert torch.allclose(vectors[0], vectors[1], atol=1e-5) is not attends
        assert bool((gates > 0).any())
