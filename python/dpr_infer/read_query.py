# A query whose ids are rows, whose prompt is read and whose filter is compiled: nothing in it can be wrong any more.

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dpr_infer.prompt_reading import PromptReading
from dpr_infer.request import Options
from dpr_infer.tag_clauses import TagClauses


class ReadQuery(NamedTuple):
    """A query as engines and kernel take it.

    Attributes
    ----------
    history : ndarray of int64, shape (L,)
        Rows of the history that the backbone can read, oldest first.
    unread : int
        How many entries of the history it cannot.
    excluded : ndarray of int64, shape (M,)
        Rows that must not be returned, in any order.
    clauses : TagClauses or None
        The tag expression, None if it filters nothing.
    reading : PromptReading or None
        What the prompt says, None if it is neutral.
    cached : bool
        Whether that came from the cache.
    options : Options
        Everything else.
    user : ndarray of float32, shape (1, user), or None
        The user vector, if it is known already: spares its reading to a query that is answered alone.
    """

    history: NDArray[np.int64]
    unread: int
    excluded: NDArray[np.int64]
    clauses: TagClauses | None
    reading: PromptReading | None
    cached: bool
    options: Options
    user: NDArray[np.float32] | None = None

    @property
    def refused(self) -> NDArray[np.uint64] | None:
        """Bitset (W,) of the tags that no item may have, None if the query is not strict or has no prompt."""
        return self.reading.refused_words if self.options.strict and self.reading is not None else None
