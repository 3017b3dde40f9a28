# The whole grid: sizes of catalogue, widths, batches and k, on made-up and on real vectors, against exact peers.
"""Run the kernel's grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from time import perf_counter
from typing import Any

from dpr_bench.kernel_ceilings import Ceilings, Use, use_of
from dpr_bench.kernel_data import Data, clustered, iid
from dpr_bench.kernel_index_cache import IndexCache
from dpr_bench.kernel_memory import available_bytes
from dpr_bench.kernel_peers_exact import Peer
from dpr_bench.kernel_progress import Watch
from dpr_bench.kernel_question import Question, Rows, recall, same_order
from dpr_bench.kernel_real import NOISE_LEVELS, real_data, repeated
from dpr_bench.kernel_stage import Stage
from dpr_bench.kernel_timing import Budget, Contender, Summary, Times, interleave

__all__ = ["GridCase", "GridRow", "Skipped", "grid_cases", "measure_grid", "scaled"]

BATCHES = (1, 16, 256)
KS = (10, 100)
_SIZES = (4_000, 100_000, 1_000_000, 10_000_000)
_DIMS = (64, 96, 128)
_MIDDLE_NOISE = NOISE_LEVELS[1]
_MOST_CALLS = 64
_SLOWEST_CALL_S = 5.0
_SPARE_BYTES = 2 << 30
_FEWEST_ITEMS = 1_000


@dataclass(frozen=True)
class GridCase:
    """A catalogue of the grid: its name, its number of items before scaling, and how it is made."""

    name: str
    items: int
    make: Callable[[int], Data]


@dataclass(frozen=True, kw_only=True)
class GridRow:
    """One contender in one cell. ``use`` and the mismatches, of ``checked`` queries, are there for ours alone."""

    case: str
    data: str
    n_items: int
    dim: int
    batch: int
    k: int
    contender: str
    times: Summary
    ratio_to_ours: float
    ratio_pairwise: float
    recall: float
    same_order: float
    mismatches: int | None = None
    checked: int | None = None
    use: Use | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Skipped:
    """What was left out, and why."""

    case: str
    contender: str
    why: str


def grid_cases(bundles: Sequence[Path]) -> list[GridCase]:
    """All catalogues of the grid.

    Parameters
    ----------
    bundles : sequence of Path
        Trained models, whose vectors are taken as they are, and repeated with noise for larger catalogues.

    Returns
    -------
    list of GridCase
        Smallest first. Ten million items are not made in every kind.
    """
    cases = []
    for items in _SIZES:
        huge = items == _SIZES[-1]
        size = f"grid-{_short(items)}"
        for dim in _DIMS:
            cases.append(GridCase(f"{size}-clustered-d{dim}", items, partial(clustered, dim=dim)))
            if not huge or dim == _DIMS[0]:
                cases.append(GridCase(f"{size}-iid-d{dim}", items, partial(iid, dim=dim)))
        for bundle in bundles:
            levels = [_MIDDLE_NOISE] if huge else list(NOISE_LEVELS)
            if items == _SIZES[0]:
                cases.append(GridCase(f"{size}-real-{bundle.name}", items, partial(_real, bundle, None)))
                continue
            for noise in levels:
                name = f"{size}-real-{bundle.name}-noise{noise}"
                cases.append(GridCase(name, items, partial(_real, bundle, noise)))
    return cases


def measure_grid(
    case: GridCase, *, ceilings: Ceilings, budget: Budget, watch: Watch, scale: float = 1.0
) -> tuple[list[GridRow], list[Skipped]]:
    """Measure every batch size and k of a catalogue.

    Parameters
    ----------
    case : GridCase
        The catalogue.
    ceilings : Ceilings
        Of this machine.
    budget : Budget
        For one cell.
    watch : Watch
        Told what is being done.
    scale : float
        Shrinks the catalogue.

    Returns
    -------
    rows : list of GridRow
        One for every contender that ran in a cell, ours first.
    left_out : list of Skipped
        Who did not run, and why.

    Raises
    ------
    ValueError
        If there is no reference to check against.
    """
    watch.step(f"{case.name}: making vectors")
    stage = Stage(case.make(scaled(case.items, scale)), IndexCache(None), watch, construction=0)
    peers, left_out = _peers(stage, case.name)
    rows: list[GridRow] = []
    for batch in BATCHES:
        fast = peers  # who is too slow for one k is not tried with a larger one
        for k in KS:
            cell = _Cell(case.name, stage, batch, k)
            answered, too_slow = cell.without_slow(fast)
            fast = [peer for peer, _ in answered]
            left_out += too_slow
            rows += cell.measure(answered, ceilings, budget)
    return rows, left_out


@dataclass(frozen=True)
class _Cell:
    """One catalogue, batch size and k."""

    case: str
    stage: Stage
    batch: int
    k: int

    @cached_property
    def question(self) -> Question:
        queries = self.stage.data.queries
        n_calls = min(_MOST_CALLS, len(queries) // self.batch)
        return Question(queries=queries[: n_calls * self.batch], k=self.k)

    @property
    def title(self) -> str:
        return f"{self.case}, B={self.batch}, k={self.k}"

    def without_slow(self, peers: Sequence[Peer]) -> tuple[list[tuple[Peer, Rows]], list[Skipped]]:
        """The peers with their answers to the first call, and those for whom it took too long."""
        kept, left_out = [], []
        self.stage.watch.step(f"{self.title}: comparing peers")
        for peer in peers:
            begun = perf_counter()
            rows = peer.search(self.question.queries[: self.batch], self.k)
            took = perf_counter() - begun
            if took > _SLOWEST_CALL_S:
                left_out.append(Skipped(self.title, peer.name, f"a call took {took:.1f} s"))
            else:
                kept.append((peer, rows))
        return kept, left_out

    def measure(
        self, peers: Sequence[tuple[Peer, Rows]], ceilings: Ceilings, budget: Budget
    ) -> list[GridRow]:
        """Check our answers, and time everybody in turns."""
        ours = self.stage.checked("dpr-infer", self.question, self.batch)
        expected = self.stage.expected("", self.question)[0][: self.batch]
        contenders = [ours.contender]
        for peer, _ in peers:
            calls = [partial(peer.search, part.queries, self.k) for part in self.question.split(self.batch)]
            contenders.append(Contender(peer.name, calls))
        self.stage.watch.step(f"{self.title}: timing")
        times = interleave(contenders, budget, self.stage.watch.tick)
        base = times[ours.contender.name]
        use = use_of(self.stage.ours.work(self.question, self.batch), base.median, ceilings)
        mine = self._row("dpr-infer", base, base, (1.0, 1.0))
        rows = [replace(mine, use=use, mismatches=ours.mismatches, checked=ours.queries)]
        for peer, found in peers:
            agreement = recall(found, expected), same_order(found, expected)
            rows.append(self._row(peer.name, times[peer.name], base, agreement))
        return rows

    def _row(self, name: str, taken: Times, base: Times, agreement: tuple[float, float]) -> GridRow:
        data = self.stage.data
        return GridRow(
            case=self.case,
            data=data.name,
            n_items=data.n_items,
            dim=data.dim,
            batch=self.batch,
            k=self.k,
            contender=name,
            times=taken.summary(),
            ratio_to_ours=taken.over(base),
            ratio_pairwise=taken.over_pairwise(base),
            recall=agreement[0],
            same_order=agreement[1],
        )


def _peers(stage: Stage, case: str) -> tuple[list[Peer], list[Skipped]]:
    """The exact peers that memory has room for; our own index is built first."""
    _ = stage.ours
    vectors = stage.data.vectors.nbytes
    makers: list[tuple[str, float, Callable[[], Sequence[Peer]]]] = [
        ("faiss flat", 1.0, lambda: stage.flat),
        (
            "onnxruntime",
            3.0,
            lambda: [stage.onnx],
        ),  # transposed, serialised and packed, for a moment all at once
        ("torch", 0.0, lambda: [stage.torch]),
        ("numpy", 0.0, lambda: [stage.numpy]),
    ]
    peers: list[Peer] = []
    left_out = []
    for name, copies, make in makers:
        if copies * vectors + _SPARE_BYTES > available_bytes():
            left_out.append(
                Skipped(case, name, f"no memory for {copies:.0f} copies of {vectors / 1e9:.1f} GB")
            )
            continue
        stage.watch.step(f"{stage.title}: {name}")
        peers += make()
    return peers, left_out


def _real(bundle: Path, noise: float | None, n_items: int) -> Data:
    """A bundle's vectors as they are, or repeated with noise."""
    data = real_data(bundle)
    return data if noise is None else repeated(data, n_items, noise)


def scaled(items: int, scale: float) -> int:
    """Shrink a number of items, to no fewer than a thousand.

    Parameters
    ----------
    items : int
        How many there should be.
    scale : float
        Factor; 1 leaves them.

    Returns
    -------
    int
        How many to make.
    """
    return max(_FEWEST_ITEMS, round(items * scale))


def _short(items: int) -> str:
    return f"{items // 1_000_000}m" if items >= 1_000_000 else f"{items // 1000}k"
