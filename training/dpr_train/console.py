# What a training run shows in a terminal.
"""Progress bars and stage summaries."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

__all__ = ["TrainingConsole"]


class TrainingConsole:
    """Shows one bar a stage; to be used as a context manager.

    Parameters
    ----------
    console : rich.console.Console
        Where to write. Without a terminal, only the lines after each stage are written.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bars = Progress(
            TextColumn("{task.description:<17}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> TrainingConsole:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def progress(self, what: str, done: int, total: int, text: str) -> None:
        """Move the bar of ``what``; a total of 0 means that it is not known."""
        if what not in self._tasks:
            if not self.console.is_terminal:
                self.console.print(f"{what}...")
            self._tasks[what] = self._bars.add_task(what, total=total or None, text="")
        self._bars.update(self._tasks[what], completed=done, total=total or None, text=text)

    def report(self, stage: str, metrics: dict[str, float]) -> None:
        """Print a stage's metrics."""
        figures = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        self._bars.console.print(f"[bold]{stage}[/bold]: {figures}", highlight=False)
