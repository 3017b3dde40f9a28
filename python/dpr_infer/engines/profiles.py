# Which sizes a graph will meet: the ranges that TensorRT builds a plan for, taken from a manifest's limits.

from __future__ import annotations

from dataclasses import dataclass

from dpr_infer.graph_contract import contract
from dpr_infer.manifest import Manifest

MAX_BATCH = 64
# The graphs that see one prompt at a time, so that what a prompt means never depends on what is read beside it.
_OF_ONE_PROMPT = ("prompt_encoder", "prompt_fusion")
# Tokens of a usual prompt; a plan is tuned for them and runs up to the bundle's limit.
_USUAL_TOKENS = 16

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """The least, usual and greatest shape of one input."""

    least: Shape
    usual: Shape
    greatest: Shape

    def holds(self, shape: Shape) -> bool:
        """Tell whether a shape lies within."""
        return len(shape) == len(self.least) and all(
            low <= size <= high for low, size, high in zip(self.least, shape, self.greatest, strict=True)
        )


Profile = dict[str, Range]


def profiles(manifest: Manifest, graph: str, max_batch: int = MAX_BATCH) -> list[Profile]:
    """Return the ranges of sizes that a plan of a graph should be good at.

    Parameters
    ----------
    manifest : Manifest
        The bundle's manifest.
    graph : str
        Which graph.
    max_batch : int
        Most queries in one call, >= 1.

    Returns
    -------
    list of dict of str to Range
        The profiles, by the names of the graph's inputs: single queries first, then batches. One where the graph
        never sees a batch.
    """
    tokens = manifest.prompt_token_limit
    # A step is usually one item more; the longest is a whole history behind the token that it begins with.
    limit, step = manifest.history_limit, graph == "backbone_step"
    sizes = {
        "L": (1, 1, limit + 1) if step else (1, limit, limit),
        "T": (1, min(_USUAL_TOKENS, tokens), tokens),
        "G": (manifest.dims.tags,) * 3,
    }
    batches = [(1, 1, 1)]
    if graph not in _OF_ONE_PROMPT and max_batch > 1:
        batches.append((1, max_batch, max_batch))
    inputs = contract(manifest.dims, manifest.format_version)[graph][0]
    return [
        {name: _range(shape, sizes | {"B": batch}) for name, (_, shape) in inputs.items()}
        for batch in batches
    ]


def batched_inputs(manifest: Manifest, graph: str) -> tuple[str, ...]:
    """Return the inputs whose first dimension is the batch."""
    inputs = contract(manifest.dims, manifest.format_version)[graph][0]
    return tuple(name for name, (_, shape) in inputs.items() if shape[0] == "B")


def _range(shape: tuple[int | str, ...], sizes: dict[str, tuple[int, int, int]]) -> Range:
    least, usual, greatest = (
        tuple(sizes[d][which] if isinstance(d, str) else d for d in shape) for which in range(3)
    )
    return Range(least, usual, greatest)
