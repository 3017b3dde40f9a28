# Token ids -> what the prompt encoder makes of them: alone, or several prompts of one length in a call where that
# changes no bit.

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpr_infer.engine import Engine

Ids = tuple[int, ...]
Outputs = list[NDArray[Any]]

# How many go into a call, larger groups first; of few sizes, so that there is little to compare for each length. Share
# of the time that the prompts take alone, onnxruntime in float32, one core of an AMD EPYC (Zen 1), 5, 7 and 9 tokens: 8
# in a call .56, .61, .72; 4 .64, .64, .77; 2 .73, .76, .85. 16 come together less often, and spare little more.
TOGETHER = (8, 4, 2)


class PromptEncoding:
    """Runs the graph prompt_encoder.

    A prompt must be understood as if it were alone, to the last bit. Whether an engine sums alike for one prompt and
    for eight is its own affair, and a graph that quantises activations reads other numbers beside other prompts. So the
    first group of each size and length is read alone and together. Where all bits are the same, later ones like it
    are read together; after the first difference, and on an accelerator, none are. Padding would make larger groups,
    and does change bits.

    Parameters
    ----------
    engine : Engine
        The graph.
    tag_embeddings : ndarray of float32, shape (G, token)
        Embeddings of the tags' names.
    """

    def __init__(self, engine: Engine, tag_embeddings: NDArray[np.float32]) -> None:
        self._engine = engine
        self._tag_embeddings = tag_embeddings
        self._alike: set[tuple[int, int]] = set()  # sizes and lengths
        self._differs = not engine.on_cpu  # an accelerator's plans are for one prompt (engines/profiles.py)

    def alone(self, ids: Ids) -> Outputs:
        """Return the graph's outputs for one prompt, a batch of one. Raises EngineError if the engine fails."""
        return self._run([ids])

    def all(self, prompts: Sequence[Ids]) -> list[Outputs]:
        """Return what `alone` does for each of some prompts. Raises EngineError if the engine fails."""
        by_length: dict[int, list[Ids]] = defaultdict(list)
        for ids in dict.fromkeys(prompts):
            by_length[len(ids)].append(ids)
        found: dict[Ids, Outputs] = {}
        for different in by_length.values():
            for size in TOGETHER:
                while len(different) >= size:
                    found |= self._group(different[:size])
                    different = different[size:]
            found |= {ids: self.alone(ids) for ids in different}
        return [found[ids] for ids in prompts]

    def _group(self, prompts: list[Ids]) -> dict[Ids, Outputs]:
        """Read as many different prompts of one length as go into a call."""
        like = len(prompts), len(prompts[0])
        if self._differs or like not in self._alike:
            alone = {ids: self.alone(ids) for ids in prompts}
            if not self._differs:
                self._compare(alone, like)
            return alone
        return self._together(prompts)

    def _together(self, prompts: list[Ids]) -> dict[Ids, Outputs]:
        together = self._run(prompts)
        # Copies: a reading that is kept must not keep those of seven others.
        return {ids: [part[b : b + 1].copy() for part in together] for b, ids in enumerate(prompts)}

    def _compare(self, alone: dict[Ids, Outputs], like: tuple[int, int]) -> None:
        for ids, parts in self._together(list(alone)).items():
            for part, other in zip(parts, alone[ids], strict=True):
                if part.tobytes() != other.tobytes():
                    self._differs = True
                    return
        self._alike.add(like)

    def _run(self, prompts: Sequence[Ids]) -> Outputs:
        input_ids = np.array(prompts, dtype=np.int64)
        return self._engine.run(
            {
                "input_ids": input_ids,
                "attention_mask": np.ones_like(input_ids),
                "tag_embeddings": self._tag_embeddings,
            }
        )
