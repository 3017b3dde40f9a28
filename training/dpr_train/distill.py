# A faster prompt encoder from a trained one: some of its layers, taught by all of them.
"""Distil a trained prompt encoder into fewer layers; needs the wording, and neither items nor interactions."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dpr_train.config import PromptEncoderConfig, UnderstandingStage
from dpr_train.data import file_sha256
from dpr_train.devices import choose_device
from dpr_train.progress import Progress, silent
from dpr_train.prompt_encoder import (
    PromptEncoder,
    build_prompt_encoder,
    is_trained,
    layers_of,
    load_tokenizer,
    save_prompt_encoder,
)
from dpr_train.run_folder import claim_progress
from dpr_train.stages.teacher import Teacher
from dpr_train.train_encoder import fit_prompt_encoder, measure_on_validation, record_of

__all__ = ["distill_prompt_encoder", "student_of"]


def distill_prompt_encoder(
    teacher_folder: Path,
    out: Path,
    config: PromptEncoderConfig,
    stage: UnderstandingStage,
    *,
    layers: Sequence[int],
    seed: int,
    threads: int,
    device: str = "cpu",
    progress: Progress = silent,
    report: Callable[[str, dict[str, float]], None] = lambda *_: None,
) -> None:
    """Train a student and write a folder that :func:`build_prompt_encoder` opens; resumes what it began.

    Parameters
    ----------
    teacher_folder : Path
        A trained prompt encoder.
    out : Path
        Folder to write; progress is kept in its subfolder ``stages``.
    config : PromptEncoderConfig
        Of the teacher; its numbers of layers do not count.
    stage : UnderstandingStage
        Settings.
    layers : sequence of int
        Layers of the teacher, from 0, that the student begins with.
    seed, threads : int
        Of the run.
    device : {"cpu", "cuda"}
        Where it computes.
    progress, report : callable
        As in :func:`dpr_train.run.train`. Reported are the metrics on validation wording, the teacher's and the
        student's.

    Raises
    ------
    ValueError
        If the teacher is not trained, or ``layers`` are not some of its layers in rising order.
    RunError
        If ``out`` holds the progress of another run.
    """
    if not is_trained(teacher_folder):
        raise ValueError(f"{teacher_folder}: expected a trained prompt encoder, got one without a head")
    chosen = choose_device(device)
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    has = layers_of(teacher_folder)
    teacher = (
        build_prompt_encoder(config.model_copy(update={"layers": has}), teacher_folder).eval().to(chosen)
    )
    tokenizer = load_tokenizer(teacher_folder, config.max_tokens)
    student = student_of(teacher, layers)
    identity = {
        "teacher": file_sha256(teacher_folder / "model.safetensors"),
        "layers": list(layers),
        "seed": seed,
        "threads": threads,
        "device": device,
        "stage2": stage.model_dump(mode="json"),
    }
    claim_progress(out / "stages", identity)
    taught_by = measure_on_validation(teacher, tokenizer, stage.domains)
    report("teacher", taught_by)
    teacher.encoder.set_attn_implementation("eager")  # type: ignore[operator]
    log = fit_prompt_encoder(
        student,
        tokenizer,
        None,
        stage,
        seed=seed,
        folder=out / "stages",
        progress=progress,
        teacher=Teacher(teacher, tokenizer),
    )
    report("student", {name: log[-1][name] for name in taught_by})
    record = {
        "base": config.base,
        "teacher": {
            "sha256": identity["teacher"],
            "layers": list(layers),
            "metrics": taught_by,
            "training": _record_of(teacher_folder),
        },
        "seed": seed,
        "threads": threads,
        "device": device,
        "config": {"prompt_encoder": student.config.model_dump(), "stage2": stage.model_dump()},
        "metrics": log,
        "licence": "as the teacher's",
        "versions": {"dpr-infer": version("dpr-infer"), "torch": torch.__version__},
    }
    save_prompt_encoder(out, student.cpu(), teacher_folder / "tokenizer.json", record)


def student_of(teacher: PromptEncoder, layers: Sequence[int]) -> PromptEncoder:
    """A copy of a prompt encoder with some of its layers, head included; training may change all of them.

    Parameters
    ----------
    teacher : PromptEncoder
        Left as it is.
    layers : sequence of int
        Which layers, from 0, in rising order.
    """
    stack = teacher.encoder.encoder.layer  # type: ignore[union-attr]
    count = len(stack)  # type: ignore[arg-type]
    chosen = list(layers)
    if not chosen or chosen != sorted(set(chosen)) or not 0 <= chosen[0] <= chosen[-1] < count:
        raise ValueError(f"layers: expected some of 0 to {count - 1} in rising order, got {chosen}")
    encoder: Any = copy.deepcopy(teacher.encoder)
    encoder.encoder.layer = nn.ModuleList([encoder.encoder.layer[i] for i in chosen])
    encoder.config.num_hidden_layers = len(chosen)
    sizes = {"layers": len(chosen), "tuned_layers": len(chosen)}
    student = PromptEncoder(encoder, teacher.config.model_copy(update=sizes))
    student.head.load_state_dict(teacher.head.state_dict())
    return student


def _record_of(folder: Path) -> dict[str, Any] | None:
    """What the teacher's folder says of its own training, without the metrics of every chunk."""
    record = record_of(folder)
    return record and {key: value for key, value in record.items() if key not in ("metrics", "began")}
