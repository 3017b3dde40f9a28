# Starts fresh processes and reads what they say.
"""Start-up time and memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from dpr_bench.kernel_progress import Watch
from dpr_bench.latency.questions import Questions

__all__ = ["Memory", "StartUp", "measure_memory", "measure_start_up", "write_questions"]

_MIB = 1024 * 1024
_LINES = 102  # that a fresh process says: opened, warm, and a hundred samples


@dataclass(frozen=True, kw_only=True)
class StartUp:
    """A fresh process up to its first answer, medians, milliseconds.

    Attributes
    ----------
    bundle : str
        Which bundle.
    processes : int
        How many were started, beside one that brought the files into the system's cache.
    import_ms, open_ms, first_ms : float
        Importing dpr_infer, opening the bundle, answering one query with a prompt.
    process_ms : float
        From starting the interpreter to the answer.
    rss_mib : float
        Resident memory after the answer.
    """

    bundle: str
    processes: int
    import_ms: float
    open_ms: float
    first_ms: float
    process_ms: float
    rss_mib: float

    @property
    def opening_ms(self) -> float:
        """Opening, first answer included."""
        return self.open_ms + self.first_ms

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Resident memory of one process over many queries, MiB.

    Attributes
    ----------
    queries : int
        How many, after a warm-up that fills the cache of prompts three times and reads histories of every length.
    opened : float
        After opening and one answer.
    warm : float
        After the warm-up.
    samples : list of (int, float)
        Queries and what was held then.
    """

    queries: int
    opened: float
    warm: float
    samples: list[tuple[int, float]]

    @property
    def growth(self) -> float:
        """Most that was held after the warm-up, over what was held at its end, less 1."""
        return max(held for _, held in self.samples) / self.warm - 1

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"growth": self.growth}


def write_questions(questions: Questions, path: Path) -> Path:
    """Write histories and prompts for a fresh process; returns the path."""
    document = {"histories": [list(h) for h in questions.histories], "prompts": questions.prompts}
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def measure_start_up(name: str, bundle: Path, questions: Path, processes: int, watch: Watch) -> StartUp:
    """Start processes that open a bundle and answer once.

    Parameters
    ----------
    name : str
        Of the bundle, for the table.
    bundle : Path
        Its folder.
    questions : Path
        As of `write_questions`.
    processes : int
        How many count.
    watch : Watch
        Told of each.

    Raises
    ------
    ValueError
        If one fails.
    """
    said = []
    for number in range(processes + 1):
        watch.tick(max(1, number), processes)
        begun = perf_counter()
        with _process(bundle, questions, 0) as lines:
            # One that fails says nothing; why is raised when it is left.
            said.append(next(lines, {}) | {"process_ms": 1e3 * (perf_counter() - begun)})
    middle = {key: float(np.median([each[key] for each in said[1:]])) for key in said[0]}
    return StartUp(bundle=name, processes=processes, rss_mib=middle.pop("rss") / _MIB, **middle)


def measure_memory(bundle: Path, questions: Path, queries: int, watch: Watch) -> Memory:
    """Let a fresh process answer many queries, one in a hundred with a prompt that it does not hold.

    Parameters
    ----------
    bundle : Path
        Bundle folder.
    questions : Path
        As of `write_questions`.
    queries : int
        How many, at least 1.
    watch : Watch
        Told of every hundredth of them.

    Raises
    ------
    ValueError
        If the process fails.
    """
    with _process(bundle, questions, queries) as lines:
        said = []
        for each in lines:
            said.append(each)
            watch.tick(len(said), _LINES)
    opened, warm, *rest = said
    return Memory(
        queries=queries,
        opened=opened["rss"] / _MIB,
        warm=warm["rss"] / _MIB,
        samples=[(int(each["queries"]), each["rss"] / _MIB) for each in rest],
    )


@contextmanager
def _process(bundle: Path, questions: Path, queries: int) -> Iterator[Iterator[dict[str, float]]]:
    """What a fresh process says, line by line."""
    command = [sys.executable, "-m", "dpr_bench.latency.fresh_process"]
    command += [str(bundle), str(questions), str(queries)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None
        assert process.stderr is not None
        yield map(json.loads, process.stdout)
        errors = process.stderr.read()
    if process.returncode:
        said = (errors.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        raise ValueError(f"a process that opens {bundle} failed: {said}")
