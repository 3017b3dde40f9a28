# Every setting of a training run, checked when it is read. The same object is stored in the checkpoint's config.json.
"""Typed configuration of the model and of its three training stages."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "BackboneConfig",
    "BackboneStage",
    "ModelConfig",
    "PromptEncoderConfig",
    "SteeringConfig",
    "SteeringStage",
    "TrainConfig",
    "UnderstandingStage",
]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BackboneConfig(_Frozen):
    """The sequential recommender.

    ``max_history`` counts items; ``dim`` is the width dc of user and item vectors; ``hidden`` is the recurrent width of
    GRU4Rec and is not used by SASRec.
    """

    kind: Literal["sasrec", "gru4rec"] = "sasrec"
    dim: int = Field(64, ge=1)
    max_history: int = Field(50, ge=1)
    dropout: float = Field(0.2, ge=0.0, lt=1.0)
    blocks: int = Field(2, ge=1)
    heads: int = Field(2, ge=1)
    hidden: int = Field(128, ge=1)

    @model_validator(mode="after")
    def _heads_divide_dim(self) -> BackboneConfig:
        if self.kind == "sasrec" and self.dim % self.heads:
            raise ValueError(
                f"backbone.dim is {self.dim}; expected a multiple of backbone.heads = {self.heads}"
            )
        return self


class PromptEncoderConfig(_Frozen):
    """The language side: which encoder, how much of it is tuned, and the width of the understanding head."""

    base: str = "all-MiniLM-L6-v2"
    max_tokens: int = Field(64, ge=4, le=512)
    tuned_layers: int = Field(4, ge=0)
    head_dim: int = Field(128, ge=1)
    position_reach: int = Field(16, ge=1)


class SteeringConfig(_Frozen):
    """Fusion and the experts. ``side_dim`` is dw; ``experts`` names one role an expert, in the order of axis E."""

    side_dim: int = Field(32, ge=1)
    fusion_dim: int = Field(64, ge=1)
    fusion_heads: int = Field(2, ge=1)
    experts: tuple[Literal["toward", "away"], ...] = ("toward", "away")
    phi: Literal["relu", "softplus"] = "relu"
    phi_gain: float = Field(1.0, gt=0.0)
    gate_threshold: float = Field(0.2, gt=0.0, lt=0.5)
    wish_threshold: float = Field(0.5, gt=0.0, lt=1.0)


class ModelConfig(_Frozen):
    """Everything needed to rebuild the modules of a checkpoint, with the sizes that the data set decides."""

    n_items: int = Field(ge=1)
    tags: tuple[str, ...] = Field(min_length=1)
    backbone: BackboneConfig
    prompt_encoder: PromptEncoderConfig
    steering: SteeringConfig


class BackboneStage(_Frozen):
    """Stage 1: ordinary next-item training with full-softmax cross-entropy.

    ``bf16`` multiplies in bfloat16 where the CPU does so in hardware; worth it for long histories.
    """

    epochs: int = Field(20, ge=1)
    batch_size: int = Field(32, ge=1)
    lr: float = Field(2e-3, gt=0)
    weight_decay: float = Field(0.1, ge=0)
    evaluate_every: int = Field(2, ge=1)
    bf16: bool = False


class UnderstandingStage(_Frozen):
    """Stage 2: the prompt encoder, on generated text alone."""

    steps: int = Field(640, ge=1)
    batch_size: int = Field(48, ge=1)
    lr_encoder: float = Field(1.5e-4, gt=0)
    lr_head: float = Field(2e-3, gt=0)
    checkpoint_every: int = Field(100, ge=1)


class SteeringStage(_Frozen):
    """Stage 3: Fusion, experts and side vectors, on cached user vectors and cached prompts."""

    epochs: int = Field(3, ge=1)
    batch_size: int = Field(512, ge=1)
    lr: float = Field(2e-3, gt=0)
    wanted_weight: float = Field(0.2, ge=0)
    forbidden_weight: float = Field(1.0, ge=0)
    prompts: int = Field(5000, ge=1)


class TrainConfig(_Frozen):
    """One training run from data to checkpoint."""

    seed: int = Field(0, ge=0)
    threads: int = Field(2, ge=1)
    backbone: BackboneConfig = BackboneConfig()
    prompt_encoder: PromptEncoderConfig = PromptEncoderConfig()
    steering: SteeringConfig = SteeringConfig()
    stage1: BackboneStage = BackboneStage()
    stage2: UnderstandingStage = UnderstandingStage()
    stage3: SteeringStage = SteeringStage()
