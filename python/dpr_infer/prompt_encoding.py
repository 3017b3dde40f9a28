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

# Of a call. A fixed size, so that there is one thing to compare for each length. Share of the time that the prompts
# take alone, onnxruntime in float32 on one core, 6, 8 and 12 tokens: 8 in a call .49, .53, .67; 16 .45, .50, .64.
TOGETHER = 8


class PromptEncoding:
    """Runs the graph prompt_encoder.

    A prompt must be understood as if it were alone, to the last bit. Whether an engine sums alike for one prompt and
    for eight is its own affair, and a graph that quantises activations reads other numbers beside other prompts. So the
    first eight prompts of each length are read alone and together. Where all bits are the same, later ones of that
    length are read together; after the first difference, and on an accelerator, none are.

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
        self._alike: set[int] = set()  # lengths
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
            whole = len(different) - len(different) % TOGETHER
            for start in range(0, whole, TOGETHER):
                found |= self._group(different[start : start + TOGETHER])
            found |= {ids: self.alone(ids) for ids in different[whole:]}
        return [found[ids] for ids in prompts]

    def _group(self, prompts: list[Ids]) -> dict[Ids, Outputs]:
        """Read as many different prompts of one length as go into a call."""
        length = len(prompts[0])
        if self._differs or length not in self._alike:
            alone = {ids: self.alone(ids) for ids in prompts}
            if not self._differs:
                self._compare(alone, length)
            return alone
        return self._together(prompts)

    def _together(self, prompts: list[Ids]) -> dict[Ids, Outputs]:
        together = self._run(prompts)
        # Copies: a reading that is kept must not keep those of seven others.
        return {ids: [part[b : b + 1].copy() for part in together] for b, ids in enumerate(prompts)}

    def _compare(self, alone: dict[Ids, Outputs], length: int) -> None:
        for ids, parts in self._together(list(alone)).items():
            for part, other in zip(parts, alone[ids], strict=True):
                if part.tobytes() != other.tobytes():
                    self._differs = True
                    return
        self._alike.add(length)

    def _run(self, prompts: Sequence[Ids]) -> Outputs:
        input_ids = np.array(prompts, dtype=np.int64)
        return self._engine.run(
            {
                "input_ids": input_ids,
                "attention_mask": np.ones_like(input_ids),
                "tag_embeddings": self._tag_embeddings,
            }
        )
