# What a store of user histories must do, whichever keeps it, and the choice between them.
"""Histories of users: one protocol, kept in an SQLite file or by Redis or Valkey."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dpr_infer.errors import DprError, QueryError, QueryTypeError

__all__ = [
    "MOST_CHARACTERS",
    "Appended",
    "Event",
    "EventStore",
    "EventStoreError",
    "check_text",
    "open_event_store",
]

MOST_CHARACTERS = 200  # of a user, an event id and an item
DEFAULT_MAX_HISTORY = 1000
_REDIS_SCHEMES = ("redis", "rediss", "unix", "valkey", "valkeys")


class EventStoreError(DprError):
    """Histories cannot be read or written now; what was acknowledged before is not lost. Trying again may help."""


@dataclass(frozen=True, slots=True)
class Event:
    """A user met an item.

    Attributes
    ----------
    event_id : str
        Chosen by the sender; a user's second event with the same id is a duplicate and changes nothing.
    item : str
        The item's id.
    timestamp : float
        Seconds since 1970, finite.

    Raises
    ------
    QueryError
        If a text is empty, longer than `MOST_CHARACTERS` or no valid Unicode, or the timestamp is not finite.
    """

    event_id: str
    item: str
    timestamp: float

    def __post_init__(self) -> None:
        check_text("event_id", self.event_id)
        check_text("item", self.item)
        try:
            finite = math.isfinite(self.timestamp)
        except (TypeError, OverflowError):
            finite = False
        if not finite:
            raise QueryError(f"timestamp must be finite seconds; got {self.timestamp!r}")


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of events: how many were taken in, and how many were there before."""

    stored: int
    duplicates: int


class EventStore(Protocol):
    """Keeps the newest events of every user. Safe to use from several tasks, and by several processes at once.

    *Newest* is by timestamp, and by arrival where timestamps are equal. Beyond the store's limit a user's oldest
    events are forgotten, their ids with them: sent again, such an event is taken in and forgotten again.
    """

    async def append(self, user: str, events: Sequence[Event]) -> Appended:
        """Take in events, all or none.

        Parameters
        ----------
        user : str
            Whose they are.
        events : sequence of Event
            In the order of their arrival. May be empty.

        Returns
        -------
        Appended
            When they are as durable as the store makes them.

        Raises
        ------
        EventStoreError
            If they could not be kept, or that is not known; sending them again is safe.
        QueryError
            If `user` is empty, too long or no valid Unicode.
        """

    async def history(self, user: str, limit: int) -> list[str]:
        """Item ids of a user's newest events, oldest first; at most `limit`, >= 0. Errors as of `append`."""

    async def count(self, user: str) -> int:
        """How many events are kept of a user. Errors as of `append`."""

    async def delete(self, user: str) -> None:
        """Forget a user; one that is not there is no error. Errors as of `append`."""

    async def check(self) -> None:
        """Do nothing, but raise `EventStoreError` if the store cannot be used now."""

    async def close(self) -> None:
        """Finish what has begun. Later calls raise `EventStoreError`."""


def check_text(what: str, value: str) -> None:
    """Check a user, an event id or an item.

    Raises
    ------
    QueryTypeError
        If it is no str.
    QueryError
        If it is empty, longer than `MOST_CHARACTERS`, has a NUL or no valid Unicode.
    """
    if not isinstance(value, str):
        raise QueryTypeError(f"{what} must be a str; got {type(value).__name__}")
    if not 0 < len(value) <= MOST_CHARACTERS:
        raise QueryError(f"{what} must have 1 to {MOST_CHARACTERS} characters; got {len(value)}")
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise QueryError(f"{what} must be Unicode without NUL and lone surrogates; got {value!r}")


def open_event_store(url: str, *, max_history: int = DEFAULT_MAX_HISTORY) -> EventStore | None:
    """Open the store that a setting names.

    Parameters
    ----------
    url : str
        The path of an SQLite file, made if it is not there; or ``redis://host:port/0`` and, as redis-py reads them,
        ``rediss://``, ``unix://``, ``valkey://``, ``valkeys://``; or ``none``.
    max_history : int
        Newest events kept a user, >= 1.

    Returns
    -------
    EventStore or None
        None for ``none``. A file is open on return; no connection is made to a server before the first call.

    Raises
    ------
    QueryError
        If the URL or `max_history` is of no use.
    EventStoreError
        If the file cannot be used, or is no such file.
    MissingExtraError
        If redis-py is needed and not installed.
    """
    if max_history < 1:
        raise QueryError(f"max_history must be at least 1; got {max_history}")
    if url == "none":
        return None
    scheme, separator, _ = url.partition("://")
    if not separator:
        from dpr_infer.serve.users_sqlite import SqliteEventStore

        return SqliteEventStore(url, max_history=max_history)
    if scheme not in _REDIS_SCHEMES:
        known = ", ".join(f"{name}://" for name in _REDIS_SCHEMES)
        raise QueryError(f"users must be a path, none, or begin with {known}; got {scheme}://")
    from dpr_infer.serve.users_redis import RedisEventStore

    return RedisEventStore(url, max_history=max_history)
