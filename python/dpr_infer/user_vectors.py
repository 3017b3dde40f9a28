# Rows of histories -> user vectors, by the graph backbone.

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dpr_infer.checked_engine import CheckedEngine
from dpr_infer.length_groups import length_groups


class UserVectors:
    """The backbone, for any number of histories of any length.

    Parameters
    ----------
    backbone : CheckedEngine
        The graph.
    limit : int
        Most items that it takes.
    width : int
        Width of a user vector.
    """

    def __init__(self, backbone: CheckedEngine, limit: int, width: int) -> None:
        self._backbone = backbone
        self._limit = limit
        self._width = width

    def of(self, histories: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Read histories, equal ones once: those of one user who asks in several ways, of all new users.

        Parameters
        ----------
        histories : sequence of sequence of int, length B >= 1
            Rows of items, oldest first. Of a longer one than the backbone takes, the newest are read.

        Returns
        -------
        ndarray of float32, shape (B, user)
            The user vectors.

        Raises
        ------
        EngineError
            If the engine fails.
        """
        kept = [history[-self._limit :] for history in histories]
        if len(kept) == 1:
            (user,) = self._backbone.run({"items": _tokens(kept)})
            return user
        number_of: dict[tuple[int, ...], int] = {}
        numbers = [number_of.setdefault(tuple(history), len(number_of)) for history in kept]
        users = self._of_different(list(number_of))
        return users if len(number_of) == len(kept) else users[numbers]

    def _of_different(self, kept: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        user = np.empty((len(kept), self._width), dtype=np.float32)
        for which in self._groups([len(history) for history in kept]):
            (user[which],) = self._backbone.run({"items": _tokens([kept[b] for b in which])})
        return user

    def _groups(self, lengths: Sequence[int]) -> list[list[int]]:
        """Return what goes into a call together. An accelerator is better kept busy with padding."""
        return length_groups(lengths) if self._backbone.on_cpu else [list(range(len(lengths)))]


def _tokens(histories: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Return the backbone's tokens (B, L): row + 1, padded on the left with 0."""
    # A user without a history is one pad token, for which the backbone has learned what to say.
    if len(histories) == 1 and histories[0]:
        items = np.array(histories[0], dtype=np.int64)[None]
        items += 1
        return items
    length = max(1, max(map(len, histories)))
    items = np.zeros((len(histories), length), dtype=np.int64)
    for line, history in zip(items, histories, strict=True):
        if history:
            line[length - len(history) :] = history
            line[length - len(history) :] += 1
    return items
