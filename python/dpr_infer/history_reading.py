# Reads the history of one user that grows: rows of its items, the user vector, and the state to go on from. What was
# read before is used again as far as it still holds.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dpr_infer.checked_engine import CheckedEngine
from dpr_infer.errors import BundleError, EngineError
from dpr_infer.items import ItemTable
from dpr_infer.request import rows_of
from dpr_infer.user_vectors import UserVectors

_START = np.zeros(1, dtype=np.int64)  # the token that a history begins with
_TRIED_ITEMS = 5
# Largest difference, over the largest value, between a history read in steps and at once: far more than float16 moves
# it, far less than another model would.
_ALIKE = 0.05


@dataclass(frozen=True, slots=True)
class HistoryReading:
    """What is known of a history.

    Attributes
    ----------
    of_items : int
        The `ItemTable.version` at which the ids were looked up.
    n_ids : int
        How many ids were.
    rows : ndarray of int64, shape (R,)
        Their rows, oldest first; without ids that are unknown.
    read : ndarray of int64, shape (L,)
        Those of the rows that the backbone can read.
    user : ndarray of float32, shape (1, user)
        The user vector.
    state : ndarray of float32, shape (1, state), or None
        What the next items are read from; None if there is no such thing.
    """

    of_items: int
    n_ids: int
    rows: NDArray[np.int64]
    read: NDArray[np.int64]
    user: NDArray[np.float32]
    state: NDArray[np.float32] | None


class HistoryReader:
    """Reads histories for one bundle. Safe from several threads.

    Parameters
    ----------
    items : ItemTable
        The bundle's items.
    n_tokens : int
        How many of them the backbone has a token for.
    limit : int
        Most items that the backbone takes.
    users : UserVectors
        The backbone.
    step : CheckedEngine, optional
        The graph backbone_step, if the bundle has it.
    state_width : int
        Width of its state.
    """

    def __init__(
        self,
        items: ItemTable,
        n_tokens: int,
        limit: int,
        users: UserVectors,
        step: CheckedEngine | None,
        state_width: int,
    ) -> None:
        self._items = items
        self._n_tokens = n_tokens
        self._limit = limit
        self._users = users
        self._step = step
        self._state_width = state_width

    def read(
        self, ids: Sequence[str], before: HistoryReading | None = None, *, skip_unknown: bool = False
    ) -> HistoryReading:
        """Read a history.

        Parameters
        ----------
        ids : sequence of str
            Item ids, oldest first.
        before : HistoryReading, optional
            What this reader made of these ids, or of the first of them, with the same `skip_unknown`.
        skip_unknown : bool
            Pass over unknown ids rather than raise.

        Returns
        -------
        HistoryReading
            The reading; `before` itself if there is nothing new.

        Raises
        ------
        UnknownItemError
            If ids are unknown and not to be skipped.
        EngineError
            If an engine fails, or gives numbers that are not finite.
        """
        version = self._items.version  # before the look-up: a change meanwhile shows next time
        if before is not None and before.of_items == version:
            if before.n_ids == len(ids):
                return before
            new = rows_of(list(ids[before.n_ids :]), "history", self._items, skip_unknown=skip_unknown)
            rows = np.concatenate([before.rows, new])
        else:
            rows = rows_of(list(ids), "history", self._items, skip_unknown=skip_unknown)
        read = rows[rows < self._n_tokens]
        user, state = self._encode(read, before)
        return HistoryReading(version, len(ids), rows, read, user, state)

    def try_out(self) -> None:
        """Read some items in steps and at once, raising BundleError if that differs. None may be removed meanwhile."""
        if self._step is None:
            return
        ids = self._items.ids[: min(_TRIED_ITEMS, self._limit, self._n_tokens)]
        at_once = self._users.of([np.arange(len(ids))])
        reading = None
        for end in range(len(ids) + 1):
            reading = self.read(ids[:end], reading)
        assert reading is not None
        differs = float(np.abs(reading.user - at_once).max())
        largest = float(np.abs(at_once).max())
        if not differs <= _ALIKE * largest:
            raise BundleError(
                f"backbone_step must make of a history what backbone makes of it, within {_ALIKE:g} of the "
                f"largest value, {largest:.3g}; got a difference of {differs:.3g}"
            )

    def _encode(
        self, read: NDArray[np.int64], before: HistoryReading | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Return the user vector (1, user), and the state if there is one."""
        if before is not None and np.array_equal(before.read, read):
            return before.user, before.state
        if self._step is None or len(read) > self._limit:
            # The backbone reads the newest items alone, as if the others had never been: no state goes on to that.
            return self._users.of([read]), None
        if before is not None and before.state is not None:
            length = len(before.read)
            if np.array_equal(before.read, read[:length]):
                return self._go_on(read[length:] + 1, before.state)
        start = np.zeros((1, self._state_width), dtype=np.float32)
        return self._go_on(np.concatenate([_START, read + 1]), start)

    def _go_on(
        self, tokens: NDArray[np.int64], state: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        assert self._step is not None
        user, next_state = self._step.run({"items": tokens[None], "state": state})
        # A state that is not finite would never become so again; and nothing of it is kept, for this raises.
        if not (np.isfinite(user).all() and np.isfinite(next_state).all()):
            raise EngineError("backbone_step must give finite numbers; got NaN or an infinity")
        return user, next_state
