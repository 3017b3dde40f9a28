# What the runtime needs of whatever runs a bundle's graphs. The engines there are lie in engines/.

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from dpr_infer.manifest import Manifest

Provider = str | tuple[str, dict[str, Any]]


class Engine(Protocol):
    """One graph that can be run. Calls from several threads at once must be safe."""

    @property
    def providers(self) -> tuple[str, ...]:
        """What runs the graph's nodes, by name."""

    @property
    def on_cpu(self) -> bool:
        """Whether that is the CPU, which is better not given padding. Others are better kept busy with it."""

    def run(self, feed: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the graph's outputs, in the order of the contract, for inputs given by name.

        Inputs are C-contiguous, of the dtypes and shapes of the contract. Raises EngineError if it fails. What is
        returned belongs to the caller.
        """


# Opens one graph: the bundle's folder, its manifest, the graph's name.
EngineFactory = Callable[[Path, Manifest, str], Engine]


def first_line(error: Exception) -> str:
    """Return what an engine's own exception says, short enough for a message."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
