# Settings by data set, and what settings refuse.

from __future__ import annotations

import pytest
from pydantic import ValidationError

from dpr_train.config import SteeringConfig, TrainConfig
from dpr_train.presets import preset


@pytest.mark.parametrize("dataset", ["ml-100k", "ml-1m", "beauty", "mind", "synthetic", "my films"])
@pytest.mark.parametrize("backbone", ["sasrec", "gru4rec", "bert4rec"])
def test_presets_are_valid_and_survive_json(dataset: str, backbone: str) -> None:
    config = preset(dataset, backbone)
    assert config.backbone.kind == backbone
    assert TrainConfig.model_validate_json(config.model_dump_json()) == config


def test_an_unknown_data_set_has_the_defaults() -> None:
    assert preset("my films") == preset("ml-100k") == TrainConfig()
    assert preset("ml-1m").backbone.max_history == 200


def test_settings_are_frozen_and_unknown_ones_refused() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        TrainConfig().seed = 1
    with pytest.raises(ValidationError, match="Extra inputs"):
        TrainConfig.model_validate({"stage4": {}})
    with pytest.raises(ValidationError, match="'toward', 'away', 'against', 'toward_text' or 'away_text'"):
        TrainConfig.model_validate({"steering": {"experts": ["sideways"]}})


def test_experts_of_texts_need_a_text_part() -> None:
    with pytest.raises(ValidationError, match="text_dim is 0; expected more, or no text expert"):
        SteeringConfig(text_dim=0)
    assert SteeringConfig(tag_dim=5, text_dim=0, experts=("toward", "away")).side_dim == 5
    assert SteeringConfig(tag_dim=5, text_dim=3).side_dim == 8


def test_quick_cuts_every_stage_short() -> None:
    whole, quick = preset("ml-1m"), preset("ml-1m", quick=True)
    assert quick.backbone == whole.backbone
    assert quick.stage1.epochs < whole.stage1.epochs
    assert quick.stage2.steps < whole.stage2.steps
    assert quick.stage3.prompts < whole.stage3.prompts
