# Stage 3 of one variant and seed, on what the checkpoint gives.
"""Train a variant."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from dpr_bench.ablations.inputs import Inputs, without_texts
from dpr_bench.ablations.measure import Values, measure
from dpr_bench.ablations.variants import Variant
from dpr_train.devices import device_of
from dpr_train.model import DPR
from dpr_train.stages.prompt_pool import PromptPool
from dpr_train.stages.steering import train_steering
from dpr_train.user_vectors import user_vectors

__all__ = ["run_variant", "start_model"]


def run_variant(inputs: Inputs, variant: Variant, pool: PromptPool, seed: int) -> Values:
    """Train stage 3 and measure it on the validation items.

    Parameters
    ----------
    inputs : Inputs
        Shared by all variants.
    variant : Variant
        Settings.
    pool : PromptPool
        Training prompts of the seed.
    seed : int
        Of the experts' first weights and of the training.
    """
    model = start_model(inputs, variant, seed)
    with TemporaryDirectory() as folder:
        train_steering(
            model,
            inputs.split.train,
            pool if variant.steering.text_dim else without_texts(pool),
            variant.stage,
            seed=seed,
            folder=Path(folder) / "steering",
            progress=inputs.progress,
            states=inputs.states if variant.frozen else None,
        )
    users = inputs.users
    if not variant.frozen:
        users = user_vectors(model.backbone, inputs.split.train, by_length=False)
    return measure(model, users, inputs.split.train, inputs.split.validation, inputs.cases)


@torch.no_grad()
def start_model(inputs: Inputs, variant: Variant, seed: int) -> DPR:
    """A model before stage 3: the checkpoint's prompt encoder and, unless it shall be fresh, its backbone."""
    trained = inputs.checkpoint.model
    torch.manual_seed(seed)
    config = trained.config.model_copy(update={"steering": variant.steering})
    model = DPR(config, inputs.tags, inputs.folder / "prompt_encoder").to(device_of(trained))
    if not variant.fresh_backbone:
        model.backbone.load_state_dict(trained.backbone.state_dict())
    model.tag_embeddings.copy_(trained.tag_embeddings)
    model.read_wishes()
    if variant.steering.text_dim:
        model.fusion.text_mean.copy_(trained.fusion.text_mean)
        model.fusion.text_basis.copy_(trained.fusion.text_basis)
        model.text_vectors.copy_(trained.text_vectors)
    return model
