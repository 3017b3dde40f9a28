# Group commit: everything that is written goes through one thread, and what waits meanwhile shares a transaction.
"""The thread that writes user histories."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Thread
from typing import Any, TypeVar

from dpr_infer.serve.users import EventStoreError
from dpr_infer.serve.users_sqlite_file import store_error

__all__ = ["GroupWriter"]

T = TypeVar("T")

_MOST_WAITING = 1024  # pieces of work; more means that the disk does not keep up
_LARGEST_GROUP = 256  # bounds how long the first of a group waits for the last
_LARGEST_REWRITTEN = 32 << 20  # bytes of a file that is written anew after a deletion: below a second


@dataclass(frozen=True)
class _Work:
    run: Callable[[sqlite3.Connection], Any]
    erases: bool
    future: Future[Any]


class GroupWriter:
    """Runs pieces of work in transactions, on a thread of its own.

    A commit waits for the disk, some milliseconds. What arrives in the meantime makes up the next transaction, so that
    many writers share one wait.

    Parameters
    ----------
    connection : Connection
        From `open_user_file`; this object uses and closes it.
    path : Path
        Of the file, for messages.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._waiting: deque[_Work] = deque()
        self._changed = Condition()
        self._closing = False
        self._traces = False  # something that was deleted may have left copies
        self._thread = Thread(target=self._serve, name="dpr-users-writer", daemon=True)
        self._thread.start()

    def submit(self, run: Callable[[sqlite3.Connection], T], *, erases: bool = False) -> Future[T]:
        """Have work done in a transaction.

        Parameters
        ----------
        run : callable
            Gets the connection. If it raises, nothing of its transaction is kept.
        erases : bool
            No copy of what was deleted may stay in the file or its log.

        Returns
        -------
        Future
            What `run` returned, once it is committed and synchronised; or EventStoreError, and then nothing of it was
            acknowledged.

        Raises
        ------
        EventStoreError
            If the writer is closed, or too much waits already.
        """
        future: Future[T] = Future()
        with self._changed:
            if self._closing:
                raise EventStoreError("user histories: the store is closed")
            if len(self._waiting) >= _MOST_WAITING:
                raise EventStoreError(f"user histories: {_MOST_WAITING} writes wait for the disk already")
            self._waiting.append(_Work(run, erases, future))
            self._changed.notify()
        return future

    def close(self) -> None:
        """Finish what waits, then close the file."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _serve(self) -> None:
        while group := self._next_group():
            self._commit([work for work in group if work.future.set_running_or_notify_cancel()])
        self._connection.close()

    def _next_group(self) -> list[_Work]:
        """What waits, at least one piece; nothing once closing and done."""
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), _LARGEST_GROUP))]

    def _commit(self, group: list[_Work]) -> None:
        if not group:  # all were cancelled
            return
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            results = [work.run(self._connection) for work in group]
            self._connection.execute("COMMIT")
        except Exception as error:  # whatever it is, nobody may wait for ever
            self._roll_back()
            told = store_error(self._path, error) if isinstance(error, sqlite3.Error) else error
            for work in group:
                work.future.set_exception(told)
            return
        self._traces = self._traces or any(work.erases for work in group)
        if self._traces:
            self._remove_traces()
        for work, result in zip(group, results, strict=True):
            work.future.set_result(result)

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error:
                # The disk fails. SQLite has rolled back by itself, or the next BEGIN fails and says so.
                return

    def _remove_traces(self) -> None:
        """Rewrite the file and empty the log; where another process is in the way, the next commit tries again.

        SQLite overwrites what it deletes, but entries that it moved between pages before have left copies in their
        unused parts.
        """
        try:
            if self._path.stat().st_size <= _LARGEST_REWRITTEN:
                self._connection.execute("VACUUM")
            (blocked, _, _) = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except (sqlite3.Error, OSError):
            return
        self._traces = bool(blocked)
