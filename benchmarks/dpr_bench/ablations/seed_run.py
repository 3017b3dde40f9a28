# All variants with one seed. A seed needs nothing of another, so seeds may run in processes of their own.
"""Run the variants of one seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

from dpr_bench.ablations.inputs import Inputs
from dpr_bench.ablations.measure import ALL_PROMPTS, VIOLATION, Values
from dpr_bench.ablations.train_variant import run_variant
from dpr_bench.ablations.variants import Variant

__all__ = ["SeedRun", "run_seed"]


@dataclass(frozen=True)
class SeedRun:
    """What a seed gave: by variant its values and seconds, and how many users take part in each case and sum."""

    values: dict[str, Values]
    seconds: dict[str, float]
    queries: dict[str, int]


def run_seed(inputs: Inputs, variants: Sequence[Variant], seed: int, say: Callable[[str], None]) -> SeedRun:
    """Train and measure every variant with one seed.

    Parameters
    ----------
    inputs : Inputs
        Shared by all variants.
    variants : sequence of Variant
        At least one.
    seed : int
        Of the prompts and of stage 3.
    say : callable
        Takes a line about each variant that is done.
    """
    pool = inputs.prompts(seed)
    values, seconds = {}, {}
    for variant in variants:
        begun = perf_counter()
        values[variant.name] = run_variant(inputs, variant, pool, seed)
        seconds[variant.name] = perf_counter() - begun
        say(f"seed {seed}, {variant.name}: {seconds[variant.name]:.0f} s")
    return SeedRun(values, seconds, _queries(inputs, next(iter(values.values()))))


def _queries(inputs: Inputs, values: Values) -> dict[str, int]:
    sums = {ALL_PROMPTS: values.ndcg[ALL_PROMPTS], VIOLATION: values.violation[VIOLATION]}
    counts = {case.wishes.task: len(case.wishes) for case in inputs.cases}
    return counts | {name: int((column == column).sum()) for name, column in sums.items()}
