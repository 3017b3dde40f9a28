# What the terminal shows while the kernel's benchmarks run.
"""Progress of a long measurement."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

__all__ = ["RichWatch", "Silence", "Watch"]


class Watch(Protocol):
    """Is told what is being done."""

    def step(self, text: str) -> None:
        """Something begins."""

    def tick(self, number: int, rounds: int) -> None:
        """Round `number` of `rounds` of the step begins."""


class Silence:
    """Shows nothing."""

    def step(self, text: str) -> None:
        """See :class:`Watch`."""

    def tick(self, number: int, rounds: int) -> None:
        """See :class:`Watch`."""


class RichWatch:
    """A line with the step, its round and the time so far; without a terminal, a line a step and when it began.

    Parameters
    ----------
    console : Console
        Where to show it.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._begun = perf_counter()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[round]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task: TaskID = self._progress.add_task("starting", total=None, round="")

    @contextmanager
    def shown(self) -> Iterator[RichWatch]:
        """Show the line while the block runs."""
        with self._progress:
            yield self

    def step(self, text: str) -> None:
        """See :class:`Watch`."""
        if not self._console.is_terminal:
            self._console.print(
                f"{perf_counter() - self._begun:5.0f} s  {text}", markup=False, highlight=False
            )
        self._progress.update(self._task, description=text, completed=0, total=None, round="")

    def tick(self, number: int, rounds: int) -> None:
        """See :class:`Watch`."""
        self._progress.update(
            self._task, completed=number - 1, total=rounds, round=f"round {number} of {rounds}"
        )
