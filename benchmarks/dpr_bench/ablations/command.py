# dpr-bench ablations, top to bottom: seeds outside, variants inside, so that a seed's prompts are encoded once.
"""Run the ablations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch
from rich.console import Console

from dpr_bench.ablations.inputs import Inputs, open_inputs
from dpr_bench.ablations.measure import ALL_PROMPTS, VIOLATION, Values
from dpr_bench.ablations.report import FULL_WIDTH, AblationRun, ablations_table, write_ablations
from dpr_bench.ablations.results import compare
from dpr_bench.ablations.train_variant import run_variant
from dpr_bench.ablations.variants import choose_variants, make_variants
from dpr_bench.machine import describe_machine
from dpr_train.data import Dataset, load_dataset
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
    out: Path | None

    @property
    def command(self) -> str:
        """The command line that asks for this, without the folders of this machine."""
        words = [f"dpr-bench ablations {self.checkpoint.name} --dataset {self.dataset}"]
        words += [f"--seeds {','.join(map(str, self.seeds))} --scratch-epochs {self.scratch_epochs}"]
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
    torch.set_num_threads(options.threads)
    data = data or load_dataset(options.dataset, cache_dir=options.cache_dir, source=options.source)
    inputs = open_inputs(options.checkpoint, data, text_folder or fetch_minilm(options.cache_dir), progress)
    variants = choose_variants(
        make_variants(inputs.config.steering, inputs.config.stage3, scratch_epochs=options.scratch_epochs),
        options.variants,
    )
    values: dict[str, list[Values]] = {variant.name: [] for variant in variants}
    seconds = dict.fromkeys(values, 0.0)
    run = None
    for number, seed in enumerate(options.seeds, start=1):
        pool = inputs.prompts(seed)
        for variant in variants:
            begun = perf_counter()
            values[variant.name].append(run_variant(inputs, variant, pool, seed))
            took = perf_counter() - begun
            seconds[variant.name] += (took - seconds[variant.name]) / number
            console.print(f"seed {seed}, {variant.name}: {took:.0f} s", highlight=False)
        rows = compare(variants, values, seconds)
        seeds = list(options.seeds[:number])
        run = AblationRun(
            options.command, data.name, dict(describe_machine()), seeds, _queries(inputs, values), rows
        )
        if options.out is not None:
            write_ablations(run, options.out)
    if run is None:
        raise ValueError("seeds: expected at least one, got none")
    width = console.width if console.is_terminal else FULL_WIDTH  # a file or a pipe takes the whole table
    console.print(ablations_table(run, width=width), width=width)
    return run


def _queries(inputs: Inputs, values: dict[str, list[Values]]) -> dict[str, int]:
    """How many users take part in each case and in the sums."""
    first = next(iter(values.values()))[0]
    sums = {ALL_PROMPTS: first.ndcg[ALL_PROMPTS], VIOLATION: first.violation[VIOLATION]}
    counts = {case.wishes.task: len(case.wishes) for case in inputs.cases}
    return counts | {name: int((column == column).sum()) for name, column in sums.items()}
