# User histories in one SQLite file: needs no other server, and several processes of one machine may share it.
"""The embedded store of user histories."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from dpr_infer.serve.users import Appended, Event, EventStoreError, check_text
from dpr_infer.serve.users_sqlite_file import open_user_file, store_error
from dpr_infer.serve.users_sqlite_writer import GroupWriter

__all__ = ["SqliteEventStore"]

T = TypeVar("T")

_INSERT = """INSERT INTO events (user, event_id, item, timestamp) VALUES (?, ?, ?, ?)
    ON CONFLICT (user, event_id) DO NOTHING"""
_NEWEST = "FROM events WHERE user = ? ORDER BY timestamp DESC, arrival DESC LIMIT ? OFFSET ?"
_FORGET = f"DELETE FROM events WHERE arrival IN (SELECT arrival {_NEWEST})"  # noqa: S608 - a constant


class SqliteEventStore:
    """See :class:`dpr_infer.serve.users.EventStore`.

    What is acknowledged is on the disk: every commit waits for fsync. Reading goes on meanwhile, on its own thread.

    Deletion overwrites what it deletes and empties the log. A file of up to 32 MiB is also rewritten, and then no byte
    of the user is in it. In a larger one copies may stay in unused parts of pages, until someone finds a quiet minute
    for SQLite's ``VACUUM``: writers wait while it runs.

    Parameters
    ----------
    path : str or Path
        The file, made if it is not there; beside it lie ``-wal`` and ``-shm`` while it is open. It must be on a disk
        of this machine: SQLite's log does not work on network file systems.
    max_history : int
        Newest events kept a user, >= 1.

    Raises
    ------
    EventStoreError
        If the file cannot be used, or is no such file.
    """

    def __init__(self, path: str | Path, *, max_history: int) -> None:
        self._path = Path(path)
        self._max_history = max_history
        self._reading = open_user_file(self._path)
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="dpr-users-reader")
        self._writer = GroupWriter(open_user_file(self._path), self._path)
        self._closed = False

    async def append(self, user: str, events: Sequence[Event]) -> Appended:
        """See :class:`~dpr_infer.serve.users.EventStore`."""
        check_text("user", user)
        rows = [(user, event.event_id, event.item, event.timestamp) for event in events]
        keep = self._max_history

        def insert(connection: sqlite3.Connection) -> int:
            stored = connection.executemany(_INSERT, rows).rowcount
            connection.execute(_FORGET, (user, -1, keep))
            return stored

        stored = await asyncio.wrap_future(self._writer.submit(insert)) if rows else 0
        return Appended(stored, len(rows) - stored)

    async def history(self, user: str, limit: int) -> list[str]:
        """See :class:`~dpr_infer.serve.users.EventStore`."""
        check_text("user", user)
        most = max(0, min(limit, self._max_history))
        query = f"SELECT item {_NEWEST}"
        rows = await self._read(lambda connection: connection.execute(query, (user, most, 0)).fetchall())
        return [item for (item,) in reversed(rows)]

    async def count(self, user: str) -> int:
        """See :class:`~dpr_infer.serve.users.EventStore`."""
        check_text("user", user)
        query = "SELECT count(*) FROM events WHERE user = ?"
        rows = await self._read(lambda connection: connection.execute(query, (user,)).fetchall())
        return int(rows[0][0])

    async def delete(self, user: str) -> None:
        """See :class:`~dpr_infer.serve.users.EventStore`."""
        check_text("user", user)

        def forget(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM events WHERE user = ?", (user,))

        await asyncio.wrap_future(self._writer.submit(forget, erases=True))

    async def check(self) -> None:
        """See :class:`~dpr_infer.serve.users.EventStore`."""
        await self._read(lambda connection: connection.execute("SELECT 1 FROM events LIMIT 1").fetchall())

    async def close(self) -> None:
        """See :class:`~dpr_infer.serve.users.EventStore`."""
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._reader.shutdown()
        self._reading.close()
        self._writer.close()  # last: who closes last empties the log

    async def _read(self, run: Callable[[sqlite3.Connection], T]) -> T:
        if self._closed:
            raise EventStoreError("user histories: the store is closed")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._reader, run, self._reading)
        except sqlite3.Error as error:
            raise store_error(self._path, error) from error
