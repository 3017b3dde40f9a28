# From users and prompts to experts and gates: the graphs of Fusion and MoE, and what of it is kept with a prompt.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dpr_infer.engine import Engine
from dpr_infer.errors import EngineError
from dpr_infer.length_groups import length_groups
from dpr_infer.manifest import Dims
from dpr_infer.prompt_reading import PromptReading, PromptShare

Experts = tuple[NDArray[np.float32], NDArray[np.float32]]

# What prompt_fusion gives, in the order of the contract.
_SHARE = ("keys", "values", "hidden", "sides", "strengths")


class Fusion(Protocol):
    """Makes experts and gates of users and prompts."""

    def prepare(self, reading: PromptReading) -> PromptReading:
        """Return the reading with all that can be computed without knowing the user. Raises EngineError."""

    def run(self, user: NDArray[np.float32], readings: Sequence[PromptReading]) -> Experts:
        """Return experts (b, E, item) and gates (b, E) for users (b, user), b >= 1, and prepared readings.

        Raises EngineError if an engine fails.
        """


class SplitFusion:
    """Two graphs: prompt_fusion reads a prompt once, fusion_moe adds a user. Bundles from format version 4 on.

    Parameters
    ----------
    of_prompt, of_user : Engine
        The graphs prompt_fusion and fusion_moe.
    tag_vectors : ndarray of float32, shape (G, side)
        Side vectors of the tags.
    dims : Dims
        Sizes of the bundle.
    """

    def __init__(
        self, of_prompt: Engine, of_user: Engine, tag_vectors: NDArray[np.float32], dims: Dims
    ) -> None:
        self._of_prompt = of_prompt
        self._of_user = of_user
        self._tag_vectors = tag_vectors
        self._width = dims.fusion

    def prepare(self, reading: PromptReading) -> PromptReading:
        """Return the reading with the prompt's share of the fusion."""
        tokens = reading.tokens[None]  # (1, T, p)
        mask = np.ones(tokens.shape[:2], dtype=np.int64)
        share = self._of_prompt.run(
            {
                "tokens": tokens,
                "attention_mask": mask,
                "wish": reading.wish[None],
                "tag_vectors": self._tag_vectors,
            }
        )
        if not all(np.isfinite(part).all() for part in share):
            raise EngineError("prompt_fusion must give finite numbers; got NaN or an infinity")
        feed = dict(zip(_SHARE, share, strict=True)) | {"attention_mask": mask}
        keys, values, hidden, sides, strengths = share
        return replace(reading, share=PromptShare(keys, values, hidden, sides, strengths, feed))

    def run(self, user: NDArray[np.float32], readings: Sequence[PromptReading]) -> Experts:
        """Return experts (b, E, item) and gates (b, E)."""
        share = readings[0].share
        if share is not None and len(readings) == 1:
            feed = share.feed
        else:
            feed = self._batch([reading.share for reading in readings if reading.share is not None])
        experts, gates = self._of_user.run({"user": user, **feed})
        return experts, gates

    def _batch(self, shares: Sequence[PromptShare]) -> dict[str, NDArray[Any]]:
        """Return what several prompts say, padded to the longest."""
        longest = max(share.keys.shape[1] for share in shares)
        keys, values = np.zeros((2, len(shares), longest, self._width), dtype=np.float32)  # (b, T, f) each
        mask = np.zeros((len(shares), longest), dtype=np.int64)
        for i, share in enumerate(shares):
            length = share.keys.shape[1]
            keys[i, :length], values[i, :length], mask[i, :length] = share.keys[0], share.values[0], 1
        return {
            "keys": keys,
            "values": values,
            "attention_mask": mask,
            "hidden": np.concatenate([share.hidden for share in shares]),
            "sides": np.concatenate([share.sides for share in shares]),
            "strengths": np.concatenate([share.strengths for share in shares]),
        }


class WholeFusion:
    """One graph that reads the prompt anew for every user. Bundles of format versions 1 to 3.

    Parameters
    ----------
    engine : Engine
        The graph fusion_moe.
    tag_vectors : ndarray of float32, shape (G, side)
        Side vectors of the tags.
    dims : Dims
        Sizes of the bundle.
    grouped : bool
        Whether prompts of about the same length go into a call together. An accelerator is better kept busy with
        padding.
    """

    def __init__(
        self, engine: Engine, tag_vectors: NDArray[np.float32], dims: Dims, *, grouped: bool
    ) -> None:
        self._engine = engine
        self._tag_vectors = tag_vectors
        self._dims = dims
        self._grouped = grouped

    def prepare(self, reading: PromptReading) -> PromptReading:
        """Return the reading as it is."""
        return reading

    def run(self, user: NDArray[np.float32], readings: Sequence[PromptReading]) -> Experts:
        """Return experts (b, E, item) and gates (b, E)."""
        lengths = [len(reading.tokens) for reading in readings]
        groups = length_groups(lengths) if self._grouped else [list(range(len(readings)))]
        if len(groups) == 1:
            return self._run_padded(user, readings)
        experts = np.empty((len(readings), self._dims.experts, self._dims.item), dtype=np.float32)
        gates = np.empty((len(readings), self._dims.experts), dtype=np.float32)
        for group in groups:
            experts[group], gates[group] = self._run_padded(user[group], [readings[i] for i in group])
        return experts, gates

    def _run_padded(self, user: NDArray[np.float32], readings: Sequence[PromptReading]) -> Experts:
        longest = max(len(reading.tokens) for reading in readings)
        tokens = np.zeros((len(readings), longest, self._dims.token), dtype=np.float32)  # (b, T, p)
        mask = np.zeros((len(readings), longest), dtype=np.int64)
        for i, reading in enumerate(readings):
            length = len(reading.tokens)
            tokens[i, :length], mask[i, :length] = reading.tokens, 1
        experts, gates = self._engine.run(
            {
                "user": user,
                "tokens": tokens,
                "attention_mask": mask,
                "wish": np.stack([reading.wish for reading in readings]),
                "tag_vectors": self._tag_vectors,
            }
        )
        return experts, gates
