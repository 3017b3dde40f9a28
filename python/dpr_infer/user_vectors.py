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

    def of(self, histories: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
        """Read histories, equal ones once: those of one user who asks in several ways, of all new users.

        Parameters
        ----------
        histories : sequence of ndarray of int64, length B >= 1
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
            return self._backbone.run({"items": _tokens(kept)})[0]
        number_of: dict[bytes, int] = {}
        numbers: list[int] = []
        different: list[NDArray[np.int64]] = []
        for history in kept:
            numbers.append(number_of.setdefault(history.tobytes(), len(different)))
            if numbers[-1] == len(different):
                different.append(history)
        users = self._of_different(different)
        return users if len(different) == len(kept) else users[numbers]

    def _of_different(self, kept: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
        user = np.empty((len(kept), self._width), dtype=np.float32)
        for which in self._groups([len(history) for history in kept]):
            (user[which],) = self._backbone.run({"items": _tokens([kept[b] for b in which])})
        return user

    def _groups(self, lengths: Sequence[int]) -> list[list[int]]:
        """Return what goes into a call together. An accelerator is better kept busy with padding."""
        return length_groups(lengths) if self._backbone.on_cpu else [list(range(len(lengths)))]


def _tokens(histories: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return the backbone's tokens (B, L): row + 1, padded on the left with 0."""
    # A user without a history is one pad token, for which the backbone has learned what to say.
    if len(histories) == 1 and len(histories[0]):
        return (histories[0] + 1)[None]
    length = max(1, max(map(len, histories)))
    items = np.zeros((len(histories), length), dtype=np.int64)
    for line, history in zip(items, histories, strict=True):
        line[length - len(history) :] = history + 1
    return items
