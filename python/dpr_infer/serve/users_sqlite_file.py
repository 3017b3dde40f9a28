# The file of user histories: how it is opened, what its tables are, and what its errors mean.
"""The SQLite file of user histories."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from pathlib import Path

from dpr_infer.serve.users import EventStoreError

__all__ = ["SCHEMA_VERSION", "open_user_file", "store_error"]

SCHEMA_VERSION = 1
_APPLICATION_ID = 0x44505255  # "DPRU": says whose file it is
_BUSY_SECONDS = 2.0  # how long another process may hold the file; below the time limit of a request

# `arrival` is the rowid: it rises with every event, and the index has it behind (user, timestamp).
_SCHEMA = (
    """CREATE TABLE events (
        arrival INTEGER PRIMARY KEY,
        user TEXT NOT NULL,
        event_id TEXT NOT NULL,
        item TEXT NOT NULL,
        timestamp REAL NOT NULL,
        UNIQUE (user, event_id)
    )""",
    "CREATE INDEX events_by_time ON events (user, timestamp)",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)

_MEANINGS = {
    sqlite3.SQLITE_BUSY: "is locked by another process",
    sqlite3.SQLITE_LOCKED: "is locked",
    sqlite3.SQLITE_FULL: "cannot grow: the disk is full",
    sqlite3.SQLITE_READONLY: "is read-only",
    sqlite3.SQLITE_PERM: "may not be used by this user",
    sqlite3.SQLITE_IOERR: "cannot be read or written",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened",
    sqlite3.SQLITE_CORRUPT: "is damaged",
    sqlite3.SQLITE_NOTADB: "is no SQLite database",
}


def store_error(path: Path, error: sqlite3.Error) -> EventStoreError:
    """Say what an error of SQLite means for the file at `path`."""
    primary = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    meaning = _MEANINGS.get(primary, "cannot be used")
    return EventStoreError(f"user histories: {path} {meaning} ({error})")


def open_user_file(path: Path) -> sqlite3.Connection:
    """Open the file, and make it with its tables if it is not there.

    Parameters
    ----------
    path : Path
        A new file is readable by its owner alone.

    Returns
    -------
    Connection
        In WAL mode, every commit synchronised, deleted content overwritten, transactions begun by hand. One thread at
        a time may use it.

    Raises
    ------
    EventStoreError
        If the file cannot be read and written, is no such file, or has another schema version.
    """
    _make_if_new(path)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=_BUSY_SECONDS)
    try:
        _prepare(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise store_error(path, error) from error
    except EventStoreError:
        connection.close()
        raise
    return connection


def _make_if_new(path: Path) -> None:
    """Make the file, or check that it may be written.

    A file that is there is not opened for that: closing it would drop the locks that SQLite holds on it for other
    connections of this process, and the next program to close the file would take itself for the last one and remove
    the log under them.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        return
    except FileExistsError:
        reason = None if os.access(path, os.R_OK | os.W_OK) else os.strerror(errno.EACCES)
    except OSError as error:
        reason = error.strerror
    if reason is not None:
        raise EventStoreError(f"user histories: {path} cannot be opened for writing ({reason})")


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    _check_owner(connection, path)  # before anything is changed: it may be someone else's
    _switch_to_wal(connection)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("BEGIN IMMEDIATE")  # of several processes that open a new file, one makes the tables
    try:
        if _check_owner(connection, path):
            for statement in _SCHEMA:
                connection.execute(statement)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _check_owner(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether the file is new; raises if it is someone else's."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if (application, version, tables) == (0, 0, 0):
        return True
    if application != _APPLICATION_ID:
        raise EventStoreError(f"user histories: {path} is a database of another program")
    if version != SCHEMA_VERSION:
        raise EventStoreError(
            f"user histories: {path} has schema version {version}; expected {SCHEMA_VERSION}"
        )
    return False


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """SQLite does not wait for others when it changes the mode, so this does."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
