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
    GRU4Rec, ``blocks`` and ``heads`` are the transformers'. ``relative_bias`` is for SASRec alone: it learns how much a
    distance in the history counts. ``quick_dropout`` draws fewer random bits, which takes a quarter off a training of
    the transformers; it is another sequence of random numbers, so another model comes out.
    """

    kind: Literal["sasrec", "gru4rec", "bert4rec"] = "sasrec"
    dim: int = Field(64, ge=1)
    max_history: int = Field(50, ge=1)
    dropout: float = Field(0.2, ge=0.0, lt=1.0)
    blocks: int = Field(2, ge=1)
    heads: int = Field(2, ge=1)
    hidden: int = Field(128, ge=1)
    relative_bias: bool = False
    quick_dropout: bool = False

    @model_validator(mode="after")
    def _heads_divide_dim(self) -> BackboneConfig:
        if self.kind != "gru4rec" and self.dim % self.heads:
            raise ValueError(
                f"backbone.dim is {self.dim}; expected a multiple of backbone.heads = {self.heads}"
            )
        return self


class PromptEncoderConfig(_Frozen):
    """The language side: the encoder's layers that are kept and those that are tuned, and the width of the head.

    The lowest ``layers`` are kept: what decides a polarity is found early, and the upper ones only make sentences
    alike.
    """

    base: str = "all-MiniLM-L6-v2"
    max_tokens: int = Field(64, ge=4, le=512)
    layers: int = Field(4, ge=1)
    tuned_layers: int = Field(4, ge=0)
    head_dim: int = Field(192, ge=1)


class SteeringConfig(_Frozen):
    """Fusion and the experts.

    ``tag_dim`` and ``text_dim`` are the widths of the parts of a side vector, dw = tag_dim + text_dim; ``experts``
    names the kind of each expert, in the order of axis E. ``separate_experts`` gives each kind weights of its own.
    Without ``token_attention`` a prompt reaches the experts through its wishes alone.
    """

    tag_dim: int = Field(32, ge=1)
    text_dim: int = Field(32, ge=0)
    fusion_dim: int = Field(64, ge=1)
    fusion_heads: int = Field(2, ge=1)
    experts: tuple[Literal["toward", "away", "against", "toward_text", "away_text"], ...] = (
        "toward",
        "toward",
        "away",
        "away",
        "toward_text",
        "away_text",
    )
    separate_experts: bool = True
    learned_gates: bool = True
    token_attention: bool = True
    item_sides: tuple[Literal["tags", "text"], ...] = ("tags", "text")
    phi: Literal["relu", "softplus"] = "relu"
    phi_gain: float = Field(1.0, gt=0.0)
    gate_threshold: float = Field(0.2, gt=0.0, lt=0.5)
    wish_threshold: float = Field(0.5, gt=0.0, lt=1.0)

    @property
    def side_dim(self) -> int:
        """Width dw of a side vector."""
        return self.tag_dim + self.text_dim

    @model_validator(mode="after")
    def _texts_need_width(self) -> SteeringConfig:
        if self.text_dim == 0 and any(kind.endswith("_text") for kind in self.experts):
            raise ValueError("steering.text_dim is 0; expected more, or no text expert in steering.experts")
        return self


class ModelConfig(_Frozen):
    """Everything needed to rebuild the modules of a checkpoint, with the sizes that the data set decides."""

    n_items: int = Field(ge=1)
    tags: tuple[str, ...] = Field(min_length=1)
    backbone: BackboneConfig
    prompt_encoder: PromptEncoderConfig
    steering: SteeringConfig


class BackboneStage(_Frozen):
    """Stage 1: training on item sequences alone.

    ``loss`` is the full softmax, or ``gbce``: binary cross-entropy on ``negatives`` sampled items with the positive
    probability recalibrated by ``calibration`` (t of gSASRec; 0 leaves it as it is). ``bf16`` multiplies in bfloat16
    where the CPU does so in hardware, and takes the softmax in pieces; worth it for long histories and large
    catalogues. ``batch_tokens`` replaces ``batch_size`` by a number of interactions, in windows of about the same
    length. ``average`` is the decay of a moving average of the weights, which is then what is evaluated and kept;
    0 keeps the weights themselves. ``mask_share`` is the share of items that BERT4Rec hides.
    """

    epochs: int = Field(20, ge=1)
    batch_size: int = Field(32, ge=1)
    batch_tokens: int | None = Field(None, ge=1)
    lr: float = Field(2e-3, gt=0)
    weight_decay: float = Field(0.1, ge=0)
    evaluate_every: int = Field(2, ge=1)
    bf16: bool = False
    loss: Literal["softmax", "gbce"] = "softmax"
    negatives: int = Field(256, ge=1)
    calibration: float = Field(0.75, ge=0, le=1)
    average: float = Field(0.0, ge=0, lt=1)
    mask_share: float = Field(0.2, gt=0, le=1)


class UnderstandingStage(_Frozen):
    """Stage 2: the prompt encoder, on generated text alone.

    It is left out where the prompt encoder comes trained. ``masked_words`` of the words around the wishes are hidden in
    training, and ``dropout`` works inside the encoder: both against learning templates by heart. ``domains`` of the
    wording are used, all by default.
    """

    steps: int = Field(6000, ge=1)
    batch_size: int = Field(96, ge=1)
    lr_encoder: float = Field(1.5e-4, gt=0)
    lr_head: float = Field(1e-3, gt=0)
    domains: tuple[str, ...] | None = None
    masked_words: float = Field(0.05, ge=0, lt=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    checkpoint_every: int = Field(100, ge=1)
    evaluate_every: int = Field(5, ge=1)


class SteeringStage(_Frozen):
    """Stage 3: Fusion, experts and side vectors, on cached user vectors and cached prompts.

    An epoch has as many examples as there are training positions, ``examples`` at most.
    ``positions_first`` of the examples begin with a position and a wish that its target grants, the others with a
    prompt. ``text_share`` of the prompts are about items' texts rather than tags. ``backbone_lr`` is
    the rate at which the backbone learns with the experts; 0 leaves it as it is. While it learns, ``empty_share`` of
    the examples have no prompt.
    """

    epochs: int = Field(3, ge=1)
    batch_size: int = Field(512, ge=1)
    lr: float = Field(2e-3, gt=0)
    wanted_weight: float = Field(0.2, ge=0)
    forbidden_weight: float = Field(1.0, ge=0)
    examples: int = Field(400_000, ge=1)
    prompts: int = Field(5000, ge=1)
    positions_first: float = Field(0.75, ge=0, le=1)
    text_share: float = Field(0.2, ge=0, le=1)
    backbone_lr: float = Field(0.0, ge=0)
    empty_share: float = Field(0.4, ge=0, lt=1)


class TrainConfig(_Frozen):
    """One training run from data to checkpoint; ``device`` is where its stages compute."""

    seed: int = Field(0, ge=0)
    threads: int = Field(2, ge=1)
    device: Literal["cpu", "cuda"] = "cpu"
    backbone: BackboneConfig = BackboneConfig()
    prompt_encoder: PromptEncoderConfig = PromptEncoderConfig()
    steering: SteeringConfig = SteeringConfig()
    stage1: BackboneStage = BackboneStage()
    stage2: UnderstandingStage = UnderstandingStage()
    stage3: SteeringStage = SteeringStage()
