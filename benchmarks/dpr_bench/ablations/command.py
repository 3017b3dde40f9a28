# dpr-bench ablations, top to bottom: seeds one after the other, or in processes of their own.
"""Run the ablations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
from rich.console import Console

from dpr_bench.ablations.inputs import Inputs, checkpoint_config, open_inputs
from dpr_bench.ablations.measure import Values
from dpr_bench.ablations.report import FULL_WIDTH, AblationRun, ablations_table, write_ablations
from dpr_bench.ablations.results import compare
from dpr_bench.ablations.seed_run import SeedRun, run_seed
from dpr_bench.ablations.variants import Variant, choose_variants, make_variants
from dpr_bench.machine import describe_machine
from dpr_train.data import Dataset, load_dataset
from dpr_train.devices import choose_device
from dpr_train.encoders import fetch_minilm
from dpr_train.progress import Progress, silent

__all__ = ["AblationOptions", "run_ablations"]


@dataclass(frozen=True, kw_only=True)
class AblationOptions:
    """What the command line asks for; ``variants`` are parts of names, none means all."""

    checkpoint: Path
    dataset: str
    source: str | None
    cache_dir: Path
    seeds: Sequence[int]
    variants: Sequence[str]
    scratch_epochs: int
    threads: int
    workers: int = 1
    device: str = "cpu"
    out: Path | None

    @property
    def command(self) -> str:
        """The command line that asks for this, without the folders of this machine."""
        words = [f"dpr-bench ablations {self.checkpoint.name} --dataset {self.dataset}"]
        words += [f"--seeds {','.join(map(str, self.seeds))} --scratch-epochs {self.scratch_epochs}"]
        words += [f"--device {self.device}"] if self.device != "cpu" else []
        return " ".join([*words, *(f"--variants '{part}'" for part in self.variants)])


def run_ablations(
    options: AblationOptions,
    console: Console,
    *,
    data: Dataset | None = None,
    text_folder: Path | None = None,
    progress: Progress = silent,
) -> AblationRun:
    """Train, measure and compare; with a folder, write after every seed what there is.

    Parameters
    ----------
    options : AblationOptions
        What to do.
    console : Console
        Where each run and the table are shown.
    data : Dataset, optional
        By default read as the options say.
    text_folder : Path, optional
        Of the encoder that read the items' texts; by default all-MiniLM-L6-v2.
    progress : callable
        ``(what, done, total, text)``.

    Raises
    ------
    CheckpointError
        If the folder is no checkpoint of this data.
    ValueError
        If no variant has such a name.
    """
    choose_device(options.device)
    data = data or load_dataset(options.dataset, cache_dir=options.cache_dir, source=options.source)
    variants = _variants(options)
    task = _Task(options, data, text_folder or fetch_minilm(options.cache_dir), variants)
    values: dict[str, list[Values]] = {variant.name: [] for variant in variants}
    seconds = dict.fromkeys(values, 0.0)
    run = None
    for number, done in enumerate(_runs(task, console, progress), start=1):
        for name in values:
            values[name].append(done.values[name])
            seconds[name] += (done.seconds[name] - seconds[name]) / number
        rows = compare(variants, values, seconds)
        seeds = list(options.seeds[:number])
        run = AblationRun(options.command, data.name, dict(describe_machine()), seeds, done.queries, rows)
        if options.out is not None:
            write_ablations(run, options.out)
    if run is None:
        raise ValueError("seeds: expected at least one, got none")
    width = console.width if console.is_terminal else FULL_WIDTH  # a file or a pipe takes the whole table
    console.print(ablations_table(run, width=width), width=width)
    return run


@dataclass(frozen=True)
class _Task:
    """What a process needs to run a seed."""

    options: AblationOptions
    data: Dataset
    text_folder: Path
    variants: Sequence[Variant]

    def inputs(self, progress: Progress) -> Inputs:
        """Load the checkpoint, and word what the variants are asked."""
        torch.set_num_threads(self.options.threads)
        device = choose_device(self.options.device)
        return open_inputs(self.options.checkpoint, self.data, self.text_folder, progress, device=device)


def _variants(options: AblationOptions) -> list[Variant]:
    """The variants that are asked for, as the checkpoint's settings have them."""
    config = checkpoint_config(options.checkpoint)
    every = make_variants(config.steering, config.stage3, scratch_epochs=options.scratch_epochs)
    return choose_variants(every, options.variants)


def _runs(task: _Task, console: Console, progress: Progress) -> Iterator[SeedRun]:
    """Every seed's run, in order."""
    seeds, workers = task.options.seeds, task.options.workers
    if workers == 1:
        inputs = task.inputs(progress)
        for seed in seeds:
            yield run_seed(inputs, task.variants, seed, lambda line: console.print(line, highlight=False))
        return
    with ProcessPoolExecutor(min(workers, len(seeds)), mp_context=get_context("spawn")) as pool:
        yield from pool.map(_run_in_process, [task] * len(seeds), seeds)


def _run_in_process(task: _Task, seed: int) -> SeedRun:
    return run_seed(task.inputs(silent), task.variants, seed, lambda line: print(line, flush=True))
