# Everything that one run of the kernel's benchmarks measured, and its form as JSON.
"""Results of the kernel's benchmarks."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dpr_bench.kernel_ceilings import Ceilings
from dpr_bench.kernel_curves import CurvePoint
from dpr_bench.kernel_goal_runs import GoalRow
from dpr_bench.kernel_grid import GridRow, Skipped
from dpr_bench.kernel_levels import LevelRow
from dpr_bench.machine import describe_machine

__all__ = ["KernelResults", "describe_peers"]

_PEERS = ("faiss-cpu", "torch", "hnswlib", "usearch", "scann")


@dataclass
class KernelResults:
    """What was measured so far, on what, and by which command."""

    command: str
    machine: dict[str, Any]
    ceilings: Ceilings
    minutes: float = 0.0
    goals: list[GoalRow] = field(default_factory=list)
    grid: list[GridRow] = field(default_factory=list)
    curves: list[CurvePoint] = field(default_factory=list)
    levels: list[LevelRow] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    @property
    def mismatches(self) -> int:
        """Queries whose answer was not the reference's, over everything that was checked."""
        of_goals = sum(row.mismatches for row in self.goals)
        of_grid = sum(row.mismatches or 0 for row in self.grid)
        of_curves = sum(point.mismatches or 0 for point in self.curves)
        return of_goals + of_grid + of_curves + sum(row.mismatches for row in self.levels)

    @property
    def missed(self) -> list[GoalRow]:
        """Goals that are not met."""
        return [row for row in self.goals if not row.reached]

    def write_json(self, path: Path) -> None:
        """Write all of it.

        Parameters
        ----------
        path : Path
            The file.
        """
        document = {
            "command": self.command,
            "machine": self.machine,
            "minutes": self.minutes,
            "ceilings": self.ceilings.as_dict(),
            "mismatches": self.mismatches,
            "goals": [row.as_dict() for row in self.goals],
            "grid": [row.as_dict() for row in self.grid],
            "curves": [point.as_dict() for point in self.curves],
            "levels": [row.as_dict() for row in self.levels],
            "skipped": [asdict(left_out) for left_out in self.skipped],
        }
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def describe_peers() -> dict[str, Any]:
    """Describe the machine as `describe_machine` does, and add the peers' versions.

    Returns
    -------
    dict
        Plain values.
    """
    return {**describe_machine(), **{name: version(name) for name in _PEERS}}
