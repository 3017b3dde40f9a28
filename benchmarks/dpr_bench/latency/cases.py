# What is timed, how often, and for how long. A table; nothing here measures.
"""Cases and plans."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FULL_PLAN", "QUICK_PLAN", "Case", "Plan"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """Batches of `batch` queries, their prompts in every cache or in none, with so many threads."""

    batch: int
    cached: bool
    threads: int

    @property
    def name(self) -> str:
        """Such as "B = 64, prompts cached"."""
        prompts = "prompt" if self.batch == 1 else "prompts"
        return f"B = {self.batch}, {prompts} {'cached' if self.cached else 'not cached'}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is measured.

    Attributes
    ----------
    batches : tuple of int
        Sizes B.
    rounds : int
        Contenders take turns so often.
    seconds : float
        A contender's time in a round; what has begun is finished, and a round has a call at least.
    cold_rounds : int
        How often everything is opened anew.
    processes : int
        Fresh processes that open the bundle.
    million_rounds : int
        Rounds of the case with many items.
    million_seconds : float
        A contender's time in each of them.
    million : int
        How many items those are.
    compiled : bool
        Whether `torch.compile` takes part: it compiles for a minute.
    """

    batches: tuple[int, ...]
    rounds: int
    seconds: float
    cold_rounds: int
    processes: int
    million_rounds: int
    million_seconds: float
    million: int
    compiled: bool

    def cases(self, threads: int) -> list[Case]:
        """All cases with so many threads."""
        return [
            Case(batch=b, cached=cached, threads=threads) for b in self.batches for cached in (True, False)
        ]


FULL_PLAN = Plan(
    batches=(1, 8, 64, 256),
    rounds=5,
    seconds=0.15,
    cold_rounds=2,
    processes=7,
    million_rounds=7,
    million_seconds=0.4,
    million=1_000_000,
    compiled=True,
)
QUICK_PLAN = Plan(
    batches=(1, 8, 64, 256),
    rounds=3,
    seconds=0.06,
    cold_rounds=1,
    processes=3,
    million_rounds=3,
    million_seconds=0.2,
    million=1_000_000,
    compiled=False,
)
