# Which parts are taken away, one at a time. A table and the settings that follow from it; nothing is trained here.
"""The variants of stage 3 that are compared with the default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dpr_train.config import SteeringConfig, SteeringStage

__all__ = ["DEFAULT", "Variant", "choose_variants", "make_variants"]

DEFAULT = "default"
TUNED_LR = 3e-4  # of a trained backbone; tens of times less than what trained it
SCRATCH_LR = 2e-3  # of a fresh one, as in stage 1


@dataclass(frozen=True)
class Variant:
    """One way to train stage 3.

    Parameters
    ----------
    name : str
        What it is called in the table.
    part : str
        The part of the default that it does without.
    steering : SteeringConfig
        Settings of the model.
    stage : SteeringStage
        Settings of the training.
    fresh_backbone : bool
        Whether the backbone begins anew rather than as the checkpoint has it.
    """

    name: str
    part: str
    steering: SteeringConfig
    stage: SteeringStage
    fresh_backbone: bool = False

    @property
    def frozen(self) -> bool:
        """Whether the backbone stays as the checkpoint has it."""
        return not self.fresh_backbone and not self.stage.backbone_lr


@dataclass(frozen=True)
class _Change:
    name: str
    part: str
    steering: dict[str, Any] = field(default_factory=dict)
    stage: dict[str, Any] = field(default_factory=dict)
    fresh_backbone: bool = False


def make_variants(
    steering: SteeringConfig, stage: SteeringStage, *, scratch_epochs: int = 6
) -> list[Variant]:
    """The default and every variant that differs from it.

    Parameters
    ----------
    steering, stage
        Settings of the default, those of the checkpoint; its backbone is taken as frozen.
    scratch_epochs : int
        Of the variant that trains everything from scratch.
    """
    frozen = stage.model_copy(update={"backbone_lr": 0.0})
    default = Variant(DEFAULT, "-", steering, frozen)
    variants = [default]
    for change in _changes(steering, scratch_epochs):
        variant = Variant(
            change.name,
            change.part,
            SteeringConfig.model_validate(steering.model_dump() | change.steering),
            SteeringStage.model_validate(frozen.model_dump() | change.stage),
            change.fresh_backbone,
        )
        if (variant.steering, variant.stage) != (steering, frozen):
            variants.append(variant)
    return variants


def choose_variants(variants: Sequence[Variant], parts: Sequence[str]) -> list[Variant]:
    """The default, and the variants with one of ``parts`` in their name; all of them if there are no parts.

    Raises
    ------
    ValueError
        If a part is in no name.
    """
    for part in parts:
        if not any(part in variant.name for variant in variants):
            names = ", ".join(variant.name for variant in variants)
            raise ValueError(f"no variant has {part!r} in its name; expected part of one of: {names}")
    return [v for v in variants if v.name == DEFAULT or not parts or any(part in v.name for part in parts)]


def _changes(steering: SteeringConfig, scratch_epochs: int) -> list[_Change]:
    experts = steering.experts
    tags_alone = tuple(kind for kind in experts if not kind.endswith("_text"))
    linear = tuple("against" if kind == "away" else kind for kind in experts)
    return [
        _Change("no text side", "text experts, text vectors", {"experts": tags_alone, "text_dim": 0}),
        _Change("no tag side vectors", "tags in item vectors", {"item_sides": ("text",)}),
        _Change("no side vectors", "tags and texts in item vectors", {"item_sides": ()}),
        _Change("one expert a polarity", "second experts", {"experts": tuple(dict.fromkeys(experts))}),
        _Change("shared expert weights", "weights of each expert's own", {"separate_experts": False}),
        _Change("gates not learned", "learned gates", {"learned_gates": False}),
        _Change("linear negative", "one-sided penalty", {"experts": linear}),
        _Change("softplus penalty", "relu in the penalty", {"phi": "softplus"}),
        _Change("no token attention", "attention to the prompt's tokens", {"token_attention": False}),
        _Change("prompts first", "pairs that begin with a position", stage={"positions_first": 0.0}),
        _Change("positions first", "pairs that begin with a prompt", stage={"positions_first": 1.0}),
        _Change("backbone tuned", "frozen backbone", stage={"backbone_lr": TUNED_LR}),
        _Change(
            f"joint from scratch, {scratch_epochs} epochs",
            "stage 1",
            stage={"backbone_lr": SCRATCH_LR, "epochs": scratch_epochs},
            fresh_backbone=True,
        ),
    ]
