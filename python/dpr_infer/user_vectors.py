# Rows of histories -> user vectors, by the graph backbone.

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dpr_infer._core import history_tokens
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
        if len(histories) == 1:
            return self._run(histories)
        number_of: dict[bytes, int] = {}
        numbers: list[int] = []
        different: list[NDArray[np.int64]] = []
        for history in histories:
            history = history[-self._limit :]
            numbers.append(number_of.setdefault(history.tobytes(), len(different)))
            if numbers[-1] == len(different):
                different.append(history)
        users = self._of_different(different)
        return users if len(different) == len(histories) else users[numbers]

    def _of_different(self, histories: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
        user = np.empty((len(histories), self._width), dtype=np.float32)
        for which in self._groups([len(history) for history in histories]):
            user[which] = self._run([histories[b] for b in which])
        return user

    def _run(self, histories: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
        return self._backbone.run({"items": history_tokens(histories, self._limit)})[0]

    def _groups(self, lengths: Sequence[int]) -> list[list[int]]:
        """Return what goes into a call together. An accelerator is better kept busy with padding."""
        return length_groups(lengths) if self._backbone.on_cpu else [list(range(len(lengths)))]
