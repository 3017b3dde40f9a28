# One training run, top to bottom: data -> three stages -> evaluation -> checkpoint. Stages 1 and 2 run side by side;
# stage 2 is left out where the prompt encoder comes trained.
"""Train a promptable recommender and leave a checkpoint folder."""

from __future__ import annotations

import hashlib
import platform
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from dpr_train.backbones import Backbone
from dpr_train.checkpoint import save_checkpoint
from dpr_train.config import ModelConfig, TrainConfig
from dpr_train.data import Dataset, LeaveOneOut, file_sha256, leave_one_out
from dpr_train.devices import choose_device
from dpr_train.evaluate import ResultRow, evaluate
from dpr_train.examples import choose_examples
from dpr_train.item_texts import TextEmbedder, principal_directions
from dpr_train.model import DPR
from dpr_train.progress import Progress, silent
from dpr_train.prompt_encoder import is_trained, load_tokenizer
from dpr_train.prompts import PromptGrammar, load_corpus
from dpr_train.run_folder import RunError, claim_folder
from dpr_train.stages.backbone import next_item_metrics, train_backbone
from dpr_train.stages.backbone_process import BackboneProcess
from dpr_train.stages.prompt_pool import PromptPool
from dpr_train.stages.resumable import Metrics
from dpr_train.stages.steering import train_steering
from dpr_train.stages.steering_prompts import draw_pool, text_wishes
from dpr_train.train_encoder import fit_prompt_encoder

__all__ = ["RunError", "prepare_steering", "steering_prompts", "train"]


def train(
    dataset: Dataset,
    config: TrainConfig,
    out: Path,
    *,
    encoder_folder: Path,
    text_folder: Path | None = None,
    trained_backbone: Backbone | None = None,
    restart: bool = False,
    progress: Progress = silent,
    report: Callable[[str, dict[str, float]], None] = lambda *_: None,
) -> list[ResultRow]:
    """Run the three stages, evaluate on the test split, and write the checkpoint.

    An interrupted run continues where it was when it is started again with the same settings and data.

    Parameters
    ----------
    dataset : Dataset
        With at least one tag.
    config : TrainConfig
        Settings; on a CPU the seed and the number of threads decide the result bit for bit on one machine.
    out : Path
        Checkpoint folder; progress is kept in its subfolder ``stages`` until the run is done.
    encoder_folder : Path
        Hugging Face folder of the prompt encoder: pretrained, or trained, with an understanding head in it.
    text_folder : Path, optional
        Hugging Face folder of the encoder that reads items' texts, as it came; by default ``encoder_folder``.
    trained_backbone : Backbone, optional
        Taken over, with the sizes of ``config.backbone``, instead of training one in stage 1.
    restart : bool
        Forget what the folder holds.
    progress : callable
        ``(what, done, total, text)``, called often.
    report : callable
        ``(stage, metrics)``, called after each stage.

    Returns
    -------
    list of ResultRow
        The evaluation on the test split.

    Raises
    ------
    DeviceError
        If the device is not there.
    RunError
        If the data have no tags, or ``out`` holds a finished run or one with other settings.
    """
    if not dataset.tag_names:
        raise RunError(
            f"data set {dataset.name!r}: expected items with tags, got none; there is nothing to prompt for"
        )
    if restart and encoder_folder.resolve().is_relative_to(out.resolve()):
        raise RunError(
            f"{encoder_folder}: expected a prompt encoder outside of {out}, which --restart empties"
        )
    device = choose_device(config.device)
    torch.set_num_threads(config.threads)
    # Some operations have no deterministic form on a GPU.
    torch.use_deterministic_algorithms(device.type == "cpu")
    torch.manual_seed(config.seed)
    split = leave_one_out(dataset.sequences)
    model = DPR(_model_config(dataset, config), dataset.tag_matrix, encoder_folder)
    tokenizer = load_tokenizer(encoder_folder, config.prompt_encoder.max_tokens)
    embed = TextEmbedder(text_folder or encoder_folder, device=device)
    if embed.dim != model.prompt_encoder.token_dim:
        raise RunError(
            f"{text_folder}: expected an encoder as wide as the prompt encoder, "
            f"{model.prompt_encoder.token_dim}, got {embed.dim}"
        )
    identity = {
        "name": dataset.name,
        "data": dataset.source_sha256,
        "encoder": file_sha256(encoder_folder / "model.safetensors"),
        "texts": file_sha256((text_folder or encoder_folder) / "model.safetensors"),
        "backbone": None if trained_backbone is None else _digest(trained_backbone),
        "config": config.model_dump(mode="json"),
    }
    claim_folder(out, identity, restart=restart)
    stages = out / "stages"
    metrics: dict[str, Any] = {}

    if trained_backbone is not None:
        model.backbone.load_state_dict(trained_backbone.state_dict())
    model.to(device)
    understand = None
    if not is_trained(encoder_folder):
        understand = partial(
            fit_prompt_encoder,
            model.prompt_encoder,
            tokenizer,
            embed,
            config.stage2,
            seed=config.seed,
            folder=stages / "understanding",
            catalogue=dataset.tag_names,
        )
    metrics |= _first_stages(
        model, split, config, stages, understand, train_first=trained_backbone is None, progress=progress
    )
    report("backbone", {k: v for k, v in metrics["backbone"].items() if k != "epochs"})
    if "understanding" in metrics:
        report("understanding", metrics["understanding"])

    prepare_steering(model, tokenizer, embed, dataset.items.descriptions, progress)
    log = train_steering(
        model,
        split.train,
        steering_prompts(model, tokenizer, embed, config, dataset.items.descriptions, progress),
        config.stage3,
        seed=config.seed,
        folder=stages / "steering",
        progress=progress,
    )
    metrics["steering"] = log[-1]
    report("steering", log[-1])

    model.cpu()
    histories = [split.test_history(user) for user in range(len(split))]
    rows = evaluate(model, tokenizer, histories, split.test, seed=config.seed, progress=progress)
    metrics["test"] = [row.as_dict() for row in rows]
    save_checkpoint(
        out,
        model,
        encoder_folder,
        dataset.items_table(),
        choose_examples(dataset),
        _training_record(dataset, config, metrics),
    )
    shutil.rmtree(stages)
    (out / "run.json").unlink()
    return rows


def _first_stages(
    model: DPR,
    split: LeaveOneOut,
    config: TrainConfig,
    stages: Path,
    understand: Callable[..., list[Metrics]] | None,
    *,
    train_first: bool,
    progress: Progress,
) -> dict[str, Any]:
    """Train backbone and prompt encoder, as far as they are not given; side by side where both have to be."""
    metrics: dict[str, Any] = {}
    beside_threads = max(1, config.threads // 2) if understand else config.threads
    epochs: list[Metrics] = []
    if train_first:
        if understand and config.threads > 1:
            with _backbone_process(model, split, config, stages, beside_threads) as beside:
                torch.set_num_threads(config.threads - beside_threads)
                metrics["understanding"] = understand(progress=beside.beside(progress))[-1]
                beside.wait(progress)
        torch.set_num_threads(beside_threads)  # in case something is left to do: the sums must be the same
        epochs = train_backbone(
            model.backbone,
            split.train,
            split.validation,
            config.stage1,
            seed=config.seed,
            folder=stages / "backbone",
            progress=progress,
        )
    torch.set_num_threads(config.threads)
    if understand and "understanding" not in metrics:
        metrics["understanding"] = understand(progress=progress)[-1]
    found = next_item_metrics(model.backbone, split.train, split.validation)
    metrics["backbone"] = {"epochs": epochs} | {f"valid_{k}": v for k, v in found.items()}
    return metrics


def _backbone_process(
    model: DPR, split: LeaveOneOut, config: TrainConfig, stages: Path, threads: int
) -> BackboneProcess:
    return BackboneProcess(
        stages / "backbone",
        config.backbone,
        config.stage1,
        n_items=model.config.n_items,
        train=split.train,
        valid_targets=split.validation,
        seed=config.seed,
        threads=threads,
        device=config.device,
    )


def prepare_steering(
    model: DPR, tokenizer: Tokenizer, embed: TextEmbedder, descriptions: Sequence[str], progress: Progress
) -> None:
    """Tell the model what its prompt encoder and the items' texts give: all of stage 3 that is not learned.

    Parameters
    ----------
    model : DPR
        With a trained prompt encoder.
    tokenizer : Tokenizer
        The prompt encoder's.
    embed : TextEmbedder
        Reads the items' texts.
    descriptions : sequence of str
        Text of every item.
    progress : callable
        ``(stage, done, total, text)``.
    """
    model.embed_tags(tokenizer)
    model.read_wishes()
    if model.config.steering.text_dim:
        embedded = embed(descriptions, progress=progress)
        model.place_texts(embedded, *principal_directions(embedded, model.config.steering.text_dim))


def steering_prompts(
    model: DPR,
    tokenizer: Tokenizer,
    embed: TextEmbedder,
    config: TrainConfig,
    descriptions: Sequence[str],
    progress: Progress,
) -> PromptPool:
    """The prompts that stage 3 trains on, encoded.

    Parameters
    ----------
    model, tokenizer, embed, descriptions, progress
        As in :func:`prepare_steering`, which comes first.
    config : TrainConfig
        Its seed draws the prompts.
    """
    corpus = load_corpus()
    texts = None
    if config.stage3.text_share and config.steering.text_dim:
        phrases = corpus.domains.get("text", ())
        embedded = embed(phrases, progress=progress)
        texts = text_wishes(PromptGrammar(corpus, phrases), embedded, embed(descriptions, progress=progress))
    return draw_pool(
        PromptGrammar(corpus, model.config.tags),
        texts,
        model.carries,
        model.prompt_encoder,
        tokenizer,
        model.tag_embeddings,
        config.stage3.prompts,
        config.stage3.text_share,
        seed=config.seed,
        progress=progress,
    )


def _digest(backbone: Backbone) -> str:
    state = hashlib.sha256()
    for name, tensor in sorted(backbone.state_dict().items()):
        state.update(name.encode() + tensor.numpy().tobytes())
    return state.hexdigest()


def _model_config(dataset: Dataset, config: TrainConfig) -> ModelConfig:
    return ModelConfig(
        n_items=dataset.n_items,
        tags=dataset.tag_names,
        backbone=config.backbone,
        prompt_encoder=config.prompt_encoder,
        steering=config.steering,
    )


def _training_record(dataset: Dataset, config: TrainConfig, metrics: dict[str, Any]) -> dict[str, Any]:
    return {
        "dataset": dataset.name,
        "data_sha256": dataset.source_sha256,
        "data_report": dataset.report.as_dict(),
        "licence": dataset.licence,
        "redistributable": dataset.redistributable,
        "config": config.model_dump(mode="json"),
        "metrics": metrics,
        "versions": {
            "dpr-infer": version("dpr-infer"),
            "torch": torch.__version__,
            "transformers": version("transformers"),
            "python": platform.python_version(),
        },
    }
