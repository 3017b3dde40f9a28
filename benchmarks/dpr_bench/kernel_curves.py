# Approximate peers at every effort: what recall they buy for what time, beside our exact answer.
"""Run the curves of recall and throughput."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from dpr_bench.kernel_grid import GridCase, scaled
from dpr_bench.kernel_index_cache import IndexCache
from dpr_bench.kernel_peers_approximate import APPROXIMATE, ApproximatePeer, AtEffort
from dpr_bench.kernel_progress import Watch
from dpr_bench.kernel_question import Question, recall
from dpr_bench.kernel_stage import Stage
from dpr_bench.kernel_timing import Budget, Contender, Summary, Times, interleave

__all__ = ["CurvePoint", "curve_cases", "measure_curves"]

_BATCHES = (1, 256)
_KS = (10, 100)
_MOST_CALLS = 64
_SIZES = (100_000, 1_000_000)


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """One library at one effort; ours has recall 1, no effort, and its mismatches of ``checked``."""

    case: str
    data: str
    n_items: int
    dim: int
    batch: int
    k: int
    library: str
    effort: str
    setup: str
    build_s: float
    index_bytes: int | None
    recall: float
    times: Summary
    queries_per_s: float
    mismatches: int | None = None
    checked: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def curve_cases(grid: Sequence[GridCase]) -> list[GridCase]:
    """Catalogues of the grid on which the approximate peers run.

    Parameters
    ----------
    grid : sequence of GridCase
        The whole grid.

    Returns
    -------
    list of GridCase
        100k and 1M items, clustered and iid with D = 64, and real ones with the middle noise; graphs over ten million
        would take hours to build.
    """
    wanted = ("-clustered-d64", "-iid-d64", "-noise0.3")
    return [
        GridCase(case.name.replace("grid", "curves"), case.items, case.make)
        for case in grid
        if case.items in _SIZES and case.name.endswith(wanted)
    ]


def measure_curves(
    case: GridCase,
    *,
    cache: IndexCache,
    construction: int,
    budget: Budget,
    watch: Watch,
    scale: float = 1.0,
) -> list[CurvePoint]:
    """Measure every approximate peer at every effort of its curve, and ours beside them.

    Parameters
    ----------
    case : GridCase
        The catalogue.
    cache : IndexCache
        Of the peers' indexes.
    construction : int
        How hard graphs are built.
    budget : Budget
        For one batch size and k.
    watch : Watch
        Told what is being done.
    scale : float
        Shrinks the catalogue.

    Returns
    -------
    list of CurvePoint
        Of all batch sizes and k; ours first in each.

    Raises
    ------
    ValueError
        If there is no reference to check against.
    """
    watch.step(f"{case.name}: making vectors")
    stage = Stage(case.make(scaled(case.items, scale)), cache, watch, construction=construction)
    cells = [_Cell(case.name, stage, batch, k) for batch in _BATCHES for k in _KS]
    return [point for cell in cells for point in cell.points(budget)]


@dataclass(frozen=True)
class _Reached:
    """What a peer reaches at one effort."""

    peer: ApproximatePeer
    effort: str
    recall: float


@dataclass(frozen=True)
class _Cell:
    """One catalogue, batch size and k."""

    case: str
    stage: Stage
    batch: int
    k: int

    def points(self, budget: Budget) -> list[CurvePoint]:
        """Check our answers, find each peer's recall, and time everybody in turns."""
        data, watch = self.stage.data, self.stage.watch
        n_calls = min(_MOST_CALLS, len(data.queries) // self.batch)
        question = Question(queries=data.queries[: n_calls * self.batch], k=self.k)
        ours = self.stage.checked("dpr-infer", question, self.batch)
        peers = [peer for name in APPROXIMATE for peer in self._efforts(name, question)]
        contenders = [ours.contender, *(contender for contender, _ in peers)]
        title = f"{self.case}, B={self.batch}, k={self.k}"
        watch.step(f"{title}: timing {len(contenders)} contenders")
        times = interleave(contenders, budget, watch.tick)
        mine = self._point(times[ours.contender.name], None)
        return [
            replace(mine, mismatches=ours.mismatches, checked=ours.queries),
            *(self._point(times[contender.name], reached) for contender, reached in peers),
        ]

    def _efforts(self, name: str, question: Question) -> list[tuple[Contender, _Reached]]:
        peer = self.stage.approximate(name)
        expected = self.stage.expected("", question)[0]
        self.stage.watch.step(f"{self.case}, B={self.batch}, k={self.k}: recall of {name}")
        found = []
        for effort in peer.curve:
            if peer.is_graph and effort[0] < self.k:
                continue
            fixed = AtEffort(peer, effort)
            share = recall(fixed.search(question.queries, self.k), expected)
            calls = [partial(fixed.search, part.queries, self.k) for part in question.split(self.batch)]
            found.append((Contender(fixed.name, calls), _Reached(peer, peer.label(effort), share)))
        return found

    def _point(self, taken: Times, reached: _Reached | None) -> CurvePoint:
        """A peer's point; without one, ours."""
        data = self.stage.data
        return CurvePoint(
            case=self.case,
            data=data.name,
            n_items=data.n_items,
            dim=data.dim,
            batch=self.batch,
            k=self.k,
            library="dpr-infer" if reached is None else reached.peer.name,
            effort="exact" if reached is None else reached.effort,
            setup="" if reached is None else reached.peer.setup,
            build_s=self.stage.ours.build_s if reached is None else reached.peer.built.build_s,
            index_bytes=None if reached is None else reached.peer.built.n_bytes,
            recall=1.0 if reached is None else reached.recall,
            times=taken.summary(),
            queries_per_s=1e3 * self.batch / taken.median,
        )
