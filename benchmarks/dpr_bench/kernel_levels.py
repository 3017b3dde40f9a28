# The kernel against itself: its SIMD levels, and one thread against two.
"""Compare the kernel's levels and threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from dpr_bench.kernel_grid import GridCase, scaled
from dpr_bench.kernel_index_cache import IndexCache
from dpr_bench.kernel_ours import NativeIndex
from dpr_bench.kernel_progress import Watch
from dpr_bench.kernel_question import Question
from dpr_bench.kernel_stage import Stage
from dpr_bench.kernel_timing import Budget, Summary, interleave
from dpr_infer._core import supported_simd_levels

__all__ = ["LevelRow", "level_cases", "measure_levels"]

_BATCHES = (1, 256)
_K = 10
_MOST_CALLS = 64


@dataclass(frozen=True, kw_only=True)
class LevelRow:
    """One level and number of threads; ``ratio`` is its time over the highest level's on one thread."""

    case: str
    n_items: int
    batch: int
    k: int
    level: str
    threads: int
    times: Summary
    ratio: float
    mismatches: int
    checked: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def level_cases(grid: Sequence[GridCase]) -> list[GridCase]:
    """Catalogues of the grid on which levels are compared: clustered and iid, D = 64, from 4k to 1M items.

    Parameters
    ----------
    grid : sequence of GridCase
        The whole grid.

    Returns
    -------
    list of GridCase
        Some of it.
    """
    wanted = ("-clustered-d64", "-iid-d64")
    return [
        GridCase(case.name.replace("grid", "levels"), case.items, case.make)
        for case in grid
        if case.items <= 1_000_000 and case.name.endswith(wanted)
    ]


def measure_levels(case: GridCase, *, budget: Budget, watch: Watch, scale: float = 1.0) -> list[LevelRow]:
    """Time every level on one thread, and the highest on two.

    Parameters
    ----------
    case : GridCase
        The catalogue.
    budget : Budget
        For one batch size.
    watch : Watch
        Told what is being done.
    scale : float
        Shrinks the catalogue.

    Returns
    -------
    list of LevelRow
        For each batch size, the highest level on one thread first.

    Raises
    ------
    ValueError
        If there is no reference to check against.
    """
    watch.step(f"{case.name}: making vectors")
    stage = Stage(case.make(scaled(case.items, scale)), IndexCache(None), watch, construction=0)
    return [row for batch in _BATCHES for row in _rows(case.name, stage, batch, budget)]


def _rows(case: str, stage: Stage, batch: int, budget: Budget) -> Iterator[LevelRow]:
    data = stage.data
    n_calls = min(_MOST_CALLS, len(data.queries) // batch)
    question = Question(queries=data.queries[: n_calls * batch], k=_K)
    levels = supported_simd_levels()[::-1]
    variants = [(level, 1) for level in levels] + [(levels[0], 2)]
    checks = []
    for level, threads in variants:
        native = NativeIndex(data.vectors, data.parts, index=stage.native.index, simd_level=level)
        make = partial(native.call, threads=threads)
        checks.append(stage.checked(f"{level}, threads={threads}", question, batch, make=make))
    stage.watch.step(f"{case}, B={batch}: timing levels and threads")
    times = interleave([check.contender for check in checks], budget, stage.watch.tick)
    highest = times[checks[0].contender.name]
    for (level, threads), check in zip(variants, checks, strict=True):
        taken = times[check.contender.name]
        yield LevelRow(
            case=case,
            n_items=data.n_items,
            batch=batch,
            k=_K,
            level=level,
            threads=threads,
            times=taken.summary(),
            ratio=taken.over(highest),
            mismatches=check.mismatches,
            checked=check.queries,
        )
