# How fast the engine is, learned from its batches: what a line of queries can be told by, and what goes into a batch.

from __future__ import annotations

# A prompt that was never read costs several times what the rest of a query does, and is read alone. So many of them
# at most go into a batch, and no more than can be read in so many seconds, but one: or else queries whose prompts are
# known would wait for all of them.
_MOST_NEW_PROMPTS = 4
_NEW_PROMPTS_S = 0.02


class Pace:
    """How long the engine needs, learned from its batches: the last ones count most. Written by the engine thread.

    Attributes
    ----------
    query_s : float
        Seconds of a batch, by its queries.
    new_prompt_s : float
        Seconds of a batch with new prompts, by these. This, and not their reading alone, is how soon a line of them
        gets shorter.
    """

    _KEPT = 0.8

    def __init__(self) -> None:
        self.query_s = 0.0
        self.new_prompt_s = 0.0
        self._reading_s = 0.0

    @property
    def new_prompts_of_a_batch(self) -> int:
        """How many new prompts a batch may have, at least one."""
        if self._reading_s * _MOST_NEW_PROMPTS <= _NEW_PROMPTS_S:
            return _MOST_NEW_PROMPTS
        return max(1, int(_NEW_PROMPTS_S / self._reading_s))

    def learn(self, seconds: float, queries: int, new_prompts: int, reading_s: float) -> None:
        """Take note of a batch.

        Parameters
        ----------
        seconds : float
            What it took.
        queries, new_prompts : int
            How many queries it had, and how many of their prompts had to be read.
        reading_s : float
            What their reading took, in seconds.
        """
        self.query_s = self._mixed(self.query_s, seconds / queries)
        if new_prompts:
            self.new_prompt_s = self._mixed(self.new_prompt_s, seconds / new_prompts)
            self._reading_s = self._mixed(self._reading_s, reading_s / new_prompts)

    def _mixed(self, before: float, now: float) -> float:
        return self._KEPT * before + (1 - self._KEPT) * now if before else now
