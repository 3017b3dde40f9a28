# Settings per data set. Those of ml-100k keep a whole training under five minutes on two cores.
"""Training settings for the known data sets."""

from __future__ import annotations

from typing import Any

from dpr_train.config import BackboneConfig, BackboneStage, SteeringStage, TrainConfig, UnderstandingStage

__all__ = ["DISTILLED_ENCODER", "GENTLE_ENCODER", "SHIPPED_ENCODER", "preset"]

# The training of the prompt encoder that ships: about 40 minutes on one core.
SHIPPED_ENCODER = UnderstandingStage(steps=4500, batch_size=64)
# Its second part, at four fifths of the rates: about 45 minutes on one core.
GENTLE_ENCODER = UnderstandingStage(steps=6500, batch_size=64, lr_encoder=1.2e-4, lr_head=8e-4)
# A student of it. Half the layers have to say what all of them said: they have no dropout to fight as well.
DISTILLED_ENCODER = UnderstandingStage(
    steps=1200, batch_size=64, lr_encoder=3e-4, lr_head=5e-4, dropout=0.0, checkpoint_every=50
)

_PRESETS = {
    # About 70 s an epoch on one core with bfloat16. SASRec's validation NDCG@10 is flat, at .203, from epoch 26 on.
    "ml-1m": TrainConfig(
        backbone=BackboneConfig(
            dim=128,
            heads=4,
            max_history=200,
            dropout=0.3,
            hidden=256,
            relative_bias=True,
            quick_dropout=True,
        ),
        stage1=BackboneStage(
            epochs=46,
            batch_tokens=5000,
            lr=1e-3,
            weight_decay=0.1,
            evaluate_every=1,
            bf16=True,
            average=0.998,
        ),
        stage3=SteeringStage(epochs=1),
    ),
    # Short, sparse sequences: more dropout than for films. Both are starting points, not the outcome of a search.
    "beauty": TrainConfig(
        backbone=BackboneConfig(max_history=50, dropout=0.4),
        stage1=BackboneStage(epochs=20, batch_size=128, lr=1e-3, weight_decay=0.05),
        stage3=SteeringStage(epochs=2),
    ),
    "mind": TrainConfig(
        backbone=BackboneConfig(max_history=50, dropout=0.3),
        stage1=BackboneStage(epochs=10, batch_size=128, lr=1e-3, weight_decay=0.05),
        stage3=SteeringStage(epochs=2),
    ),
    "synthetic": TrainConfig(
        backbone=BackboneConfig(dim=32, max_history=20),
        stage1=BackboneStage(epochs=20),
        stage2=UnderstandingStage(steps=60, batch_size=32),
        stage3=SteeringStage(epochs=3, prompts=600),
    ),
}


def preset(dataset: str, backbone: str = "sasrec", *, quick: bool = False) -> TrainConfig:
    """Settings for a data set by name; the defaults (those of ``ml-100k``) for one that is not known.

    Parameters
    ----------
    dataset : str
        Name of the data set.
    backbone : {"sasrec", "gru4rec", "bert4rec"}
        Kind of backbone.
    quick : bool
        Cut every stage short: enough to see the whole path work, not for a model to keep.
    """
    config = _PRESETS.get(dataset, TrainConfig())
    changes: dict[str, Any] = {"backbone": config.backbone.model_copy(update={"kind": backbone})}
    if backbone == "bert4rec" and dataset == "ml-1m":
        # One training position in 30, or 32,700, has a user vector: about as many steps as with the others.
        changes["stage3"] = config.stage3.model_copy(update={"epochs": 12 * config.stage3.epochs})
    if quick:
        changes["stage1"] = config.stage1.model_copy(update={"epochs": 4})
        changes["stage2"] = config.stage2.model_copy(
            update={"steps": min(100, config.stage2.steps), "batch_size": 32}
        )
        changes["stage3"] = config.stage3.model_copy(update={"epochs": 1, "prompts": 600})
    return config.model_copy(update=changes)
