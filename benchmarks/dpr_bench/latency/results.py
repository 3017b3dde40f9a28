# All that one run found.
"""Results of the latency benchmark."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from dpr_bench.latency.agreement import Agreement
from dpr_bench.latency.million import MillionRow
from dpr_bench.latency.processes import Memory, StartUp
from dpr_bench.latency.rounds import ColdRow, LatencyRow
from dpr_bench.latency.steps import Outside, StepsRow

__all__ = ["LatencyResults"]


@dataclass(frozen=True, kw_only=True)
class LatencyResults:
    """What one run found.

    Attributes
    ----------
    bundle : dict
        Name, items, tags, experts, widths and precision of the bundle.
    questions : dict
        As of `Questions.describe`.
    rounds : int
        Of every case.
    rows : list of LatencyRow
        Whole queries.
    cold : list of ColdRow
        First calls.
    agreement, million_agreement : list of Agreement
        What was compared before.
    left_out : dict of str to str
        Contenders that took no part, and why.
    steps : list of StepsRow
        Where the time goes.
    outside : Outside
        What is neither engine nor kernel.
    start_up : list of StartUp
        Fresh processes; the first is the bundle that is measured.
    memory : Memory
        Over many queries.
    million : list of MillionRow
        With many items.
    minutes : float
        What all of it took.
    """

    bundle: dict[str, Any]
    questions: dict[str, Any]
    rounds: int
    rows: list[LatencyRow]
    cold: list[ColdRow]
    agreement: list[Agreement]
    million_agreement: list[Agreement]
    left_out: dict[str, str]
    steps: list[StepsRow]
    outside: Outside
    start_up: list[StartUp]
    memory: Memory
    million: list[MillionRow]
    minutes: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "bundle": self.bundle,
            "questions": self.questions,
            "rounds": self.rounds,
            "rows": [row.as_dict() for row in self.rows],
            "cold": [asdict(row) for row in self.cold],
            "agreement": [row.as_dict() for row in self.agreement],
            "million_agreement": [row.as_dict() for row in self.million_agreement],
            "left_out": self.left_out,
            "steps": [row.as_dict() for row in self.steps],
            "outside_us": self.outside.as_dict(),
            "start_up": [row.as_dict() for row in self.start_up],
            "memory_mib": self.memory.as_dict(),
            "million": [row.as_dict() for row in self.million],
            "minutes": self.minutes,
        }
