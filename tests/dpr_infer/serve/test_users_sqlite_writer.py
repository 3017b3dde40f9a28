# Group commit: who shares a transaction, and what becomes of those that fail.

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from dpr_infer.serve import users_sqlite_writer
from dpr_infer.serve.users import EventStoreError
from dpr_infer.serve.users_sqlite_file import open_user_file
from dpr_infer.serve.users_sqlite_writer import GroupWriter

PATIENCE = 20  # seconds; only a failure waits so long


@pytest.fixture
def statements() -> list[str]:
    return []


@pytest.fixture
def writer(tmp_path: Path, statements: list[str]) -> Iterator[GroupWriter]:
    connection = open_user_file(tmp_path / "users.sqlite")
    connection.set_trace_callback(statements.append)
    made = GroupWriter(connection, tmp_path / "users.sqlite")
    yield made
    made.close()


class Held:
    """A piece of work that lasts until it is released."""

    def __init__(self) -> None:
        self.begun, self.released = Event(), Event()

    def __call__(self, connection: sqlite3.Connection) -> str:
        self.begun.set()
        assert self.released.wait(PATIENCE)
        return "held"


def test_what_waits_shares_a_transaction(writer: GroupWriter, statements: list[str]):
    held = Held()
    first = writer.submit(held)
    assert held.begun.wait(PATIENCE)
    rest = [writer.submit(lambda connection, n=n: n) for n in range(50)]
    held.released.set()
    assert first.result(PATIENCE) == "held"
    assert [future.result(PATIENCE) for future in rest] == list(range(50))
    assert statements.count("COMMIT") == 2


def test_a_failure_takes_back_its_whole_transaction_and_no_other(writer: GroupWriter):
    def insert(event_id: str):
        sql = "INSERT INTO events (user, event_id, item, timestamp) VALUES ('ann', ?, 'i', 0)"
        return lambda connection: connection.execute(sql, (event_id,))

    def count(connection: sqlite3.Connection) -> int:
        return int(connection.execute("SELECT count(*) FROM events").fetchone()[0])

    writer.submit(insert("before")).result(PATIENCE)
    held = Held()
    first = writer.submit(held)
    assert held.begun.wait(PATIENCE)
    doomed = [writer.submit(insert("1")), writer.submit(lambda connection: connection.execute("nonsense"))]
    held.released.set()
    assert first.result(PATIENCE) == "held"
    for future in doomed:
        with pytest.raises(EventStoreError, match='near "nonsense"'):
            future.result(PATIENCE)
    assert writer.submit(count).result(PATIENCE) == 1


def test_an_error_that_nobody_expects_reaches_who_waits(writer: GroupWriter):
    with pytest.raises(ZeroDivisionError):
        writer.submit(lambda connection: 1 / 0).result(PATIENCE)
    assert writer.submit(lambda connection: 1).result(PATIENCE) == 1


def test_cancelled_work_is_not_done(writer: GroupWriter):
    held = Held()
    first = writer.submit(held)
    assert held.begun.wait(PATIENCE)
    done: list[int] = []
    cancelled = writer.submit(lambda connection: done.append(1))
    assert cancelled.cancel()
    held.released.set()
    first.result(PATIENCE)
    writer.submit(lambda connection: done.append(2)).result(PATIENCE)
    assert done == [2]


def test_a_disk_that_does_not_keep_up(writer: GroupWriter, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(users_sqlite_writer, "_MOST_WAITING", 3)
    held = Held()
    first = writer.submit(held)
    assert held.begun.wait(PATIENCE)
    waiting = [writer.submit(lambda connection: 1) for _ in range(3)]
    with pytest.raises(EventStoreError, match="3 writes wait for the disk already"):
        writer.submit(lambda connection: 1)
    held.released.set()
    assert first.result(PATIENCE) == "held"
    assert [future.result(PATIENCE) for future in waiting] == [1, 1, 1]


def test_closing_finishes_what_waits(tmp_path: Path):
    made = GroupWriter(open_user_file(tmp_path / "users.sqlite"), tmp_path / "users.sqlite")
    held = Held()
    made.submit(held)
    assert held.begun.wait(PATIENCE)
    waiting = [made.submit(lambda connection, n=n: n) for n in range(300)]
    held.released.set()
    made.close()
    assert [future.result(0) for future in waiting] == list(range(300))
    with pytest.raises(EventStoreError, match="closed"):
        made.submit(lambda connection: 1)
