# Settings by data set, and what settings refuse.

from __future__ import annotations

import pytest
from pydantic import ValidationError

from dpr_train.config import TrainConfig
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
    with pytest.raises(ValidationError, match="'toward' or 'away'"):
        TrainConfig.model_validate({"steering": {"experts": ["sideways"]}})
