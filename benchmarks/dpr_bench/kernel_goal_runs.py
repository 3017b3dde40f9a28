# Measures the goals: for every catalogue the answers are checked, then all contenders of a batch size take turns.
"""Run the kernel's goals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dpr_bench.kernel_ceilings import Ceilings, Use, use_of
from dpr_bench.kernel_data import Data, clustered, iid
from dpr_bench.kernel_goals import Goal
from dpr_bench.kernel_grid import scaled
from dpr_bench.kernel_index_cache import IndexCache
from dpr_bench.kernel_peers_exact import Peer
from dpr_bench.kernel_progress import Watch
from dpr_bench.kernel_question import Question, recall, same_order
from dpr_bench.kernel_real import real_data, repeated
from dpr_bench.kernel_stage import Checked, Stage
from dpr_bench.kernel_timing import Budget, Contender, Summary, Times, interleave
from dpr_bench.kernel_tuning import faster_of, fastest_at_recall
from dpr_bench.kernel_twists import twisted

__all__ = ["GoalRow", "GoalSetup", "measure_goals"]

_MOST_CALLS = 128
_REAL_NOISE = 0.3
_SMALL = 100_000  # up to here the Python around a call shows, and the native call is timed too


@dataclass(frozen=True, kw_only=True)
class GoalSetup:
    """What all goals share; ``scale`` shrinks every catalogue, ``construction`` is how hard graphs are built."""

    bundle: Path
    cache: IndexCache
    ceilings: Ceilings
    budget: Budget
    watch: Watch
    scale: float = 1.0
    construction: int = 100


@dataclass(frozen=True, kw_only=True)
class GoalRow:
    """One goal as measured, on ``n_items`` vectors of ``dim`` dimensions.

    ``ratio`` is that of the medians, ``ratio_pairwise`` the median of the ratios call by call. ``mismatches`` counts
    the queries, of ``checked``, whose answer was not bit for bit the reference's. ``peer_recall`` is the share of the
    exact rows that the peer found, ``peer_same_order`` the share of queries whose rows it gave in the exact order.
    ``native`` is the native call, beneath the Python class, where that was timed.
    """

    goal: Goal
    n_items: int
    dim: int
    ours: Summary
    peer: Summary
    peer_name: str
    peer_note: str
    peer_recall: float
    peer_same_order: float
    ratio: float
    ratio_pairwise: float
    mismatches: int
    checked: int
    use: Use
    native: Summary | None

    @property
    def title(self) -> str:
        """The case, and how wide its vectors are where a model decided that."""
        return f"{self.goal.title}, D = {self.dim}" if self.goal.data == "real" else self.goal.title

    @property
    def reached(self) -> bool:
        """Whether the goal is met: the ratio, and no mismatch."""
        return self.goal.reached(self.ratio) and self.mismatches == 0

    @property
    def aimed(self) -> bool:
        """Whether the ratio is what it aims at, without a mismatch."""
        return self.goal.aimed(self.ratio) and self.mismatches == 0

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "reached": self.reached, "aimed": self.aimed}


@dataclass(frozen=True, kw_only=True)
class _Rival:
    """Whom a goal is held against: its calls, what is to be said of it, and how right it is."""

    contender: Contender
    name: str
    note: str
    recall: float
    same_order: float


@dataclass(frozen=True, kw_only=True)
class _Run:
    """A goal that is ready to be timed."""

    goal: Goal
    question: Question
    ours: Checked
    native: Checked | None
    rival: _Rival

    @property
    def contenders(self) -> list[Contender]:
        native = [] if self.native is None else [self.native.contender]
        return [self.ours.contender, self.rival.contender, *native]


def measure_goals(goals: Sequence[Goal], setup: GoalSetup) -> Iterator[GoalRow]:
    """Measure goals, catalogue by catalogue.

    Parameters
    ----------
    goals : sequence of Goal
        What to measure.
    setup : GoalSetup
        How.

    Yields
    ------
    GoalRow
        As soon as it is there; not in the order of `goals`.

    Raises
    ------
    ValueError
        If there is no reference to check against.
    """
    for key in dict.fromkeys((goal.data, goal.items, goal.dim) for goal in goals):
        yield from _measure_catalogue([g for g in goals if (g.data, g.items, g.dim) == key], setup)


def _measure_catalogue(goals: Sequence[Goal], setup: GoalSetup) -> Iterator[GoalRow]:
    stage = Stage(
        _data_of(goals[0], setup),
        setup.cache,
        setup.watch,
        construction=setup.construction,
        tagged=any(goal.twist == "half" for goal in goals),
    )
    for batch in dict.fromkeys(goal.batch for goal in goals):
        yield from _measure_batch([goal for goal in goals if goal.batch == batch], stage, setup)


def _data_of(goal: Goal, setup: GoalSetup) -> Data:
    n_items = scaled(goal.items, setup.scale)
    setup.watch.step(f"{n_items:,} items, {goal.data}: making vectors")
    if goal.data == "real":
        return repeated(real_data(setup.bundle), n_items, _REAL_NOISE)
    return (clustered if goal.data == "clustered" else iid)(n_items, goal.dim)


def _measure_batch(goals: Sequence[Goal], stage: Stage, setup: GoalSetup) -> list[GoalRow]:
    runs = [_ready(goal, stage) for goal in goals]
    contenders = {contender.name: contender for run in runs for contender in run.contenders}
    setup.watch.step(f"{stage.title}: timing {len(contenders)} contenders, B={goals[0].batch}")
    times = interleave(list(contenders.values()), setup.budget, setup.watch.tick)
    return [_row(run, stage, times, setup.ceilings) for run in runs]


def _ready(goal: Goal, stage: Stage) -> _Run:
    """Check our answers and choose the peer's setting."""
    n_calls = min(_MOST_CALLS, len(stage.data.queries) // goal.batch)
    plain = Question(queries=stage.data.queries[: n_calls * goal.batch], k=goal.k)
    question = twisted(plain, goal.twist, stage.data)
    ours = stage.checked("dpr-infer", question, goal.batch, goal.twist)
    native = None
    if goal.items <= _SMALL:
        native = stage.checked("native call", question, goal.batch, goal.twist, stage.native.call)
    rival = _plain(goal, stage, plain) if goal.peer == "plain" else _rival(goal, stage, plain)
    return _Run(goal=goal, question=question, ours=ours, native=native, rival=rival)


def _plain(goal: Goal, stage: Stage, plain: Question) -> _Rival:
    """Our own search of the same queries without the twist."""
    ours = stage.checked("dpr-infer", plain, goal.batch)
    return _Rival(contender=ours.contender, name="dpr-infer, plain", note="", recall=1.0, same_order=1.0)


def _rival(goal: Goal, stage: Stage, plain: Question) -> _Rival:
    peer, note = _chosen_peer(goal, stage, plain)
    expected = stage.expected("", plain)[0]
    rows = peer.search(plain.queries, goal.k)
    calls = [partial(peer.search, part.queries, goal.k) for part in plain.split(goal.batch)]
    return _Rival(
        contender=Contender(f"{peer.name}, k={goal.k}", calls),
        name=peer.name,
        note=note,
        recall=recall(rows, expected),
        same_order=same_order(rows, expected),
    )


def _chosen_peer(goal: Goal, stage: Stage, plain: Question) -> tuple[Peer, str]:
    """The peer in its best setting, and how that was found."""
    if goal.peer == "onnxruntime":
        return stage.onnx, "MatMul + TopK"
    if goal.peer == "flat":
        peer, took = faster_of(stage.flat, plain.queries[: goal.batch], goal.k)
        return peer, f"the better of: {took}"
    index = stage.approximate(goal.peer)
    tuning = Question(queries=stage.data.tuning, k=goal.k)
    stage.watch.step(f"{stage.title}: tuning {index.name} to recall {goal.recall}")
    at_effort, found = fastest_at_recall(
        index, tuning.queries, stage.expected("tuning", tuning)[0], goal.recall
    )
    return at_effort, (
        f"{index.setup}; built in {index.built.build_s:.0f} s; recall {found:.4f} on the queries it was tuned on"
    )


def _row(run: _Run, stage: Stage, times: dict[str, Times], ceilings: Ceilings) -> GoalRow:
    ours, peer = times[run.ours.contender.name], times[run.rival.contender.name]
    above, below = (ours, peer) if run.goal.lower_is_better else (peer, ours)
    checks = [run.ours, *([] if run.native is None else [run.native])]
    return GoalRow(
        goal=run.goal,
        n_items=stage.data.n_items,
        dim=stage.data.dim,
        ours=ours.summary(),
        peer=peer.summary(),
        peer_name=run.rival.name,
        peer_note=run.rival.note,
        peer_recall=run.rival.recall,
        peer_same_order=run.rival.same_order,
        ratio=above.over(below),
        ratio_pairwise=above.over_pairwise(below),
        mismatches=sum(check.mismatches for check in checks),
        checked=sum(check.queries for check in checks),
        use=use_of(stage.ours.work(run.question, run.goal.batch), ours.median, ceilings),
        native=None if run.native is None else times[run.native.contender.name].summary(),
    )
