# Where the kernel must get: one row a promise. A table, no code that measures.
"""The kernel's goals, and whether a ratio reaches them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["GOALS", "Goal"]


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A case, the peer it is held against, and the ratio to reach.

    The ratio is the peer's time over ours for the same question (above 1: we are faster). Where the peer is "plain",
    our own search of the same queries without the twist, it is our time with the twist over that without, and lower is
    better. ``twist`` says what the question adds: a penalty ("relu ordinary" and so on), "steering" (the away experts
    of a trained model) or "half" (a filter). ``dim`` is that of made vectors; real ones have what they have.
    """

    name: str
    title: str
    peer: str
    must: float
    aim: float
    items: int = 1_000_000
    dim: int = 64
    data: str = "clustered"
    batch: int = 1
    k: int = 10
    recall: float = 1.0
    twist: str = ""

    @property
    def lower_is_better(self) -> bool:
        """Whether the ratio is a cost."""
        return self.peer == "plain"

    def reached(self, ratio: float) -> bool:
        """Whether a ratio is what it must be."""
        return ratio <= self.must if self.lower_is_better else ratio >= self.must

    def aimed(self, ratio: float) -> bool:
        """Whether a ratio is what it aims at."""
        return ratio <= self.aim if self.lower_is_better else ratio >= self.aim


def _small(items: int, batch: int, k: int, peer: str, must: float, aim: float) -> Goal:
    size = f"{items // 1000}k"
    return Goal(
        name=f"goal-{size}-b{batch}-k{k}",
        title=f"{size}, B={batch}, k={k}",
        peer=peer,
        must=must,
        aim=aim,
        items=items,
        batch=batch,
        k=k,
    )


def _penalty(phi: str, whom: str, title: str, must: float, aim: float) -> Goal:
    return Goal(
        name=f"goal-1m-penalty-{phi}-{whom}",
        title=f"1M, B=1, penalty ({phi}): {title}",
        peer="plain",
        must=must,
        aim=aim,
        twist=f"{phi} {whom}",
    )


_OWN = "rejecting one's own favourite cluster"

GOALS: tuple[Goal, ...] = (
    Goal(name="goal-1m-b1-k10", title="1M, B=1, k=10, clustered", peer="flat", must=25, aim=50),
    Goal(name="goal-1m-b1-k100", title="1M, B=1, k=100, clustered", peer="flat", must=10, aim=25, k=100),
    Goal(name="goal-1m-iid", title="1M, B=1, k=10, iid", peer="flat", must=3.5, aim=6, data="iid"),
    Goal(
        name="goal-1m-b256-k10", title="1M, B=256, k=10, clustered", peer="flat", must=20, aim=40, batch=256
    ),
    Goal(
        name="goal-1m-b256-k100",
        title="1M, B=256, k=100, clustered",
        peer="flat",
        must=8,
        aim=20,
        batch=256,
        k=100,
    ),
    Goal(
        name="goal-1m-scann",
        title="1M, B=256, recall .98",
        peer="ScaNN",
        must=0.7,
        aim=1.2,
        batch=256,
        recall=0.98,
    ),
    Goal(name="goal-1m-hnswlib", title="1M, B=1, recall .995", peer="hnswlib", must=1, aim=2, recall=0.995),
    _small(100_000, 1, 10, "flat", 10, 20),
    _small(100_000, 256, 10, "flat", 7, 12),
    _small(100_000, 256, 100, "flat", 2, 5),
    _small(4_000, 1, 10, "onnxruntime", 2.5, 4),
    _small(4_000, 256, 10, "onnxruntime", 1.3, 2.5),
    _penalty("relu", "ordinary", "ordinary", 1.3, 1.1),
    _penalty("softplus", "ordinary", "ordinary", 1.3, 1.1),
    _penalty("relu", "own", _OWN, 3, 1.5),
    _penalty("softplus", "own", _OWN, 3, 1.5),
    Goal(
        name="goal-1m-half",
        title="1M, B=1, half pass a filter",
        peer="plain",
        must=1.4,
        aim=1.15,
        twist="half",
    ),
    Goal(
        name="goal-1m-real",
        title="1M, B=1, real q",
        peer="flat",
        must=15,
        aim=30,
        data="real",
    ),
    Goal(
        name="goal-1m-real-steered",
        title="1M, B=1, real q and z",
        peer="flat",
        must=15,
        aim=30,
        data="real",
        twist="steering",
    ),
)
