# How long work tells what it has done. Screens implement it; nothing else knows about screens.
"""The callback through which stages and evaluation report progress."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Progress", "silent"]


class Progress(Protocol):
    """Called often while something runs."""

    def __call__(self, what: str, done: int, total: int, text: str, /) -> None:
        """Take note.

        Parameters
        ----------
        what : str
            What runs, e.g. the stage.
        done, total : int
            Steps; a total of 0 means that it is not known.
        text : str
            Figures to show beside the bar; may be empty.
        """


def silent(what: str, done: int, total: int, text: str, /) -> None:
    """Progress that nobody watches."""
