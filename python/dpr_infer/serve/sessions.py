# Conversations, kept in memory: bounded in number, in size and in time.

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dpr_infer.serve.metrics import Metrics
from dpr_infer.serve.problems import Problem
from dpr_infer.serve.schemas import Turn

_ID_BYTES = 16  # nobody guesses a number of 128 bits
BYTES_A_SESSION = 16_384  # on average, at most; a single one may be larger
_OVERHEAD_BYTES = 1_024


@dataclass(slots=True, kw_only=True)
class Session:
    """One conversation. Whoever changes it holds `lock`, so that turns come one after the other.

    Attributes
    ----------
    id : str
        What it is called; whoever knows it may use it.
    history : list of str
        Item ids, oldest first.
    turns : tuple of turns
        What was said, oldest first.
    exclude, exclude_history, where, strength, steer
        As for `Recommender.query`.
    """

    id: str = field(default_factory=lambda: secrets.token_urlsafe(_ID_BYTES))
    history: list[str]
    turns: tuple[Turn, ...] = ()
    exclude: Sequence[str] = ()
    exclude_history: bool = True
    where: str | None = None
    strength: float = 1.0
    steer: str = "soft"
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def size_bytes(self) -> int:
        """Return about how much memory it takes."""
        said = sum(
            len(turn) if isinstance(turn, str) else sum(len(tag) + 64 for tag in turn) for turn in self.turns
        )
        # Item ids are those of the catalogue, not copies; a character may take four bytes.
        return (
            _OVERHEAD_BYTES + 8 * (len(self.history) + len(self.exclude)) + 4 * (said + len(self.where or ""))
        )


@dataclass(slots=True)
class _Kept:
    session: Session
    used_s: float
    bytes: int


class SessionStore:
    """The conversations of one server. For one event loop.

    Beyond `most` of them, or beyond `most` times `BYTES_A_SESSION` bytes, the least recently used goes.

    Parameters
    ----------
    most : int
        Most sessions, >= 1.
    ttl_s : float
        A session that was not used for so many seconds is forgotten.
    metrics : Metrics
        Told how many there are, and how many had to go.
    clock : callable
        Seconds, never falling.
    """

    def __init__(
        self, most: int, ttl_s: float, metrics: Metrics, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._most_bytes = most * BYTES_A_SESSION
        self._ttl_s = ttl_s
        self._metrics = metrics
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()  # the least recently used first
        self._bytes = 0

    def __len__(self) -> int:
        self._forget_expired()
        return len(self._kept)

    def add(self, session: Session) -> None:
        """Keep a new session, the most recently used one now."""
        self._forget_expired()
        size = session.size_bytes()
        self._kept[session.id] = _Kept(session, self._clock(), size)
        self._bytes += size
        self._make_room()

    def get(self, session_id: str) -> Session:
        """Return a session, which becomes the most recently used one.

        Parameters
        ----------
        session_id : str
            Its id.

        Returns
        -------
        Session
            The session.

        Raises
        ------
        Problem
            404 if it is not there, or no longer.
        """
        self._forget_expired()
        kept = self._kept.get(session_id)
        if kept is None:
            raise Problem(404, "there is no such session; it may have expired", "unknown-session")
        kept.used_s = self._clock()
        self._kept.move_to_end(session_id)
        return kept.session

    def changed(self, session: Session) -> None:
        """Take note of a session's size after a change; one that has gone meanwhile stays gone."""
        kept = self._kept.get(session.id)
        if kept is None:
            return
        size = session.size_bytes()
        self._bytes += size - kept.bytes
        kept.bytes = size
        self._make_room()

    def delete(self, session_id: str) -> None:
        """Forget a session; raises Problem 404 if it is not there."""
        self._forget(self.get(session_id).id)

    def _forget(self, session_id: str) -> None:
        self._bytes -= self._kept.pop(session_id).bytes
        self._metrics.sessions.set(len(self._kept))

    def _forget_expired(self) -> None:
        limit = self._clock() - self._ttl_s
        while self._kept:
            session_id, kept = next(iter(self._kept.items()))
            if kept.used_s >= limit:
                return
            self._forget(session_id)

    def _make_room(self) -> None:
        while len(self._kept) > 1 and (len(self._kept) > self._most or self._bytes > self._most_bytes):
            self._forget(next(iter(self._kept)))
            self._metrics.sessions_evicted.inc()
        self._metrics.sessions.set(len(self._kept))
