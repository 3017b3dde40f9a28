# All faults in turn, each with a server of its own, and the page of what came of them.
"""Run the faults."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dpr_bench.kernel_progress import Watch
from dpr_bench.serve.faults.bundle import corrupt_bundle
from dpr_bench.serve.faults.disk import full_disk
from dpr_bench.serve.faults.keys import wrong_keys
from dpr_bench.serve.faults.outcome import FaultSetup, Outcome
from dpr_bench.serve.faults.overload import overload
from dpr_bench.serve.faults.prompts import huge_prompts, odd_characters, prompt_flood
from dpr_bench.serve.faults.redis_away import redis_gone_and_back
from dpr_bench.serve.faults.slow_clients import slow_clients
from dpr_bench.serve.pages import page, table
from dpr_infer import Recommender

__all__ = ["FAULTS", "faults_markdown", "run_faults"]

FAULTS: tuple[Callable[[FaultSetup], Outcome], ...] = (
    full_disk,
    corrupt_bundle,
    redis_gone_and_back,
    slow_clients,
    overload,
    prompt_flood,
    huge_prompts,
    odd_characters,
    wrong_keys,
)
_SECONDS, _QUICK_SECONDS = 20.0, 4.0


def run_faults(bundle: Path, watch: Watch, *, quick: bool) -> list[Outcome]:
    """Try every fault.

    Parameters
    ----------
    bundle : Path
        What is served.
    watch : Watch
        Is told what is being done.
    quick : bool
        Faults that last do so for four seconds instead of twenty.

    Returns
    -------
    list of Outcome
        One a fault.
    """
    recommender = Recommender(bundle)
    history = next(iter(recommender.examples.values()))
    outcomes = []
    for fault in FAULTS:
        watch.step(fault.__name__.replace("_", " "))
        with tempfile.TemporaryDirectory(prefix="dpr-fault-") as folder:
            setup = FaultSetup(
                bundle=bundle,
                history=history,
                tags=recommender.manifest.tags,
                folder=Path(folder),
                seconds=_QUICK_SECONDS if quick else _SECONDS,
            )
            outcomes.append(_tried(fault, setup))
    return outcomes


def _tried(fault: Callable[[FaultSetup], Outcome], setup: FaultSetup) -> Outcome:
    """A fault that cannot be measured has failed, and the others are still tried."""
    try:
        return fault(setup)
    except (OSError, ValueError) as error:
        return Outcome(
            name=fault.__name__.replace("_", " "),
            done=" ".join((fault.__doc__ or "").split()),
            expected="that it can be measured",
            measured={"error": str(error)},
            passed=False,
        )


def faults_markdown(outcomes: Sequence[Outcome], command: str, setup: Mapping[str, Any]) -> str:
    """The page of the results."""
    rows = [[one.name, one.verdict, one.figures] for one in outcomes]
    parts = [table(["fault", "verdict", "measured"], rows, left=3)]
    parts += [f"**{one.name}** {one.done} Expected: {one.expected}." for one in outcomes]
    return page("Faults and attacks", command, setup, parts)
