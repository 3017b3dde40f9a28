# The SQLite file of user histories: kills, disks that are full, others that hold it, files of another kind.

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import event_writer
from dpr_infer.serve import users_sqlite_file
from dpr_infer.serve.users import Appended, Event, EventStoreError
from dpr_infer.serve.users_sqlite import SqliteEventStore

WRITER = Path(event_writer.__file__)
ENVIRONMENT = os.environ | {"PYTHONPATH": str(WRITER.parent)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "users.sqlite"


def with_store(path: Path, scenario: Callable[[SqliteEventStore], Awaitable[None]]) -> None:
    async def run() -> None:
        store = SqliteEventStore(path, max_history=10**6)
        try:
            await scenario(store)
        finally:
            await store.close()

    asyncio.run(run())


def numbers_in(path: Path) -> set[int]:
    """The numbers of the events of `event_writer` that are stored."""
    found: set[int] = set()

    async def read(store: SqliteEventStore) -> None:
        for user in range(7):
            found.update(int(item[1:]) for item in await store.history(f"user {user}", 10**6))

    with_store(path, read)
    return found


def writer(path: Path, first: int, last: int = 10**9) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(WRITER), str(path), str(first), str(last)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT)


def test_no_acknowledged_event_is_lost_when_the_writer_is_killed(path: Path):
    acknowledged: set[int] = set()
    for kill in range(2):
        process = writer(path, kill * 10**6)
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(100)]
        process.kill()
        lines += process.stdout.read().splitlines()
        process.stdout.close()
        assert process.wait() == -9
        acknowledged |= {int(line) for line in lines}
        assert len(acknowledged) >= 100 * (kill + 1)
        assert acknowledged - numbers_in(path) == set()


def test_two_processes_share_a_file_that_both_make(path: Path):
    processes = [writer(path, 0, 200) for _ in range(2)]
    for process in processes:
        output, _ = process.communicate()
        assert process.returncode == 0
        assert len(output.splitlines()) == 200
    assert numbers_in(path) == set(range(200))


_FULL = """
import asyncio, resource, sys
from dpr_infer.serve.users import Event, EventStoreError
from dpr_infer.serve.users_sqlite import SqliteEventStore

async def main(path):
    store = SqliteEventStore(path, max_history=10**6)
    number, failures = 0, 0
    while failures < 3:
        try:
            await store.append("ann", [Event(f"{number:0200}", "x" * 200, float(number))])
            number += 1
        except EventStoreError as error:
            failures += 1
            print(error, file=sys.stderr)
    assert await store.count("ann") == number, "reading goes on"
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    await store.append("ann", [Event(f"{number:0200}", "x" * 200, float(number))])
    await store.close()
    print(number + 1)

_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, hard))
asyncio.run(main(sys.argv[1]))
"""


def test_a_file_that_cannot_grow_refuses_keeps_all_and_goes_on_when_it_can(path: Path):
    command = [sys.executable, "-c", _FULL, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("user histories: ") == 3
    assert done.stderr.count(f"{path} cannot be read or written") == 3

    async def count(store: SqliteEventStore) -> None:
        assert await store.count("ann") == int(done.stdout) > 20

    with_store(path, count)


def test_a_file_that_another_process_holds(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(users_sqlite_file, "_BUSY_SECONDS", 0.05)

    async def scenario(store: SqliteEventStore) -> None:
        await store.append("ann", [Event("1", "i1", 1.0)])
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(EventStoreError, match=r"users\.sqlite is locked by another process"):
            await store.append("ann", [Event("2", "i2", 2.0)])
        with pytest.raises(EventStoreError, match="is locked by another process"):
            await store.delete("ann")
        assert await store.history("ann", 9) == ["i1"]
        other.execute("ROLLBACK")
        other.close()
        assert await store.append("ann", [Event("2", "i2", 2.0)]) == Appended(1, 0)

    with_store(path, scenario)


def test_a_file_that_may_not_be_written(path: Path):
    with_store(path, lambda store: store.append("ann", [Event("1", "i1", 1.0)]))
    path.chmod(0o400)
    script = "import sys; from dpr_infer.serve.users import open_event_store as o; o(sys.argv[1])"
    # The superuser may write anything, unless it gives that up.
    plain = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []
    command = [*plain, sys.executable, "-c", script, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert f"EventStoreError: user histories: {path} cannot be opened for writing" in done.stderr
    assert done.returncode == 1


def test_a_folder_that_is_not_there(tmp_path: Path):
    with pytest.raises(EventStoreError, match="cannot be opened for writing"):
        SqliteEventStore(tmp_path / "none" / "users.sqlite", max_history=1)


def test_a_file_of_another_kind_is_left_as_it_is(path: Path):
    content = b"no database, but more than a hundred bytes of text " * 9
    path.write_bytes(content)
    with pytest.raises(EventStoreError, match=r"users\.sqlite is no SQLite database"):
        SqliteEventStore(path, max_history=1)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("PRAGMA application_id = 7", "is a database of another program"),
        ("CREATE TABLE theirs (name TEXT)", "is a database of another program"),
    ],
)
def test_a_database_of_another_program_is_left_as_it_is(path: Path, statement: str, message: str):
    other = sqlite3.connect(path)
    other.execute(statement)
    other.commit()
    other.close()
    content = path.read_bytes()
    with pytest.raises(EventStoreError, match=message):
        SqliteEventStore(path, max_history=1)
    assert path.read_bytes() == content


def test_a_schema_of_another_version(path: Path):
    with_store(path, lambda store: store.check())
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 2")
    newer.close()
    with pytest.raises(EventStoreError, match="has schema version 2; expected 1"):
        SqliteEventStore(path, max_history=1)


def test_a_file_that_is_damaged_later(path: Path):
    async def scenario(store: SqliteEventStore) -> None:
        await store.append("ann", [Event(str(n), "i" * 100, float(n)) for n in range(500)])
        await store.delete("nobody")  # empties the log: what is read next lies in the file
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (path.stat().st_size - 4096))
        with pytest.raises(EventStoreError, match="is damaged"):
            await store.history("bob", 9)

    with_store(path, scenario)


def test_deletion_leaves_no_byte_behind(path: Path, tmp_path: Path):
    def traces() -> int:
        return sum(file.read_bytes().count(b"secret") for file in tmp_path.iterdir())

    async def scenario(store: SqliteEventStore) -> None:
        for block in range(20):  # pages of the deleted user lie between those of others
            events = [Event(f"{block}-{n}", f"item{n}", float(n)) for n in range(10)]
            await store.append(f"user {block}", events)
            secrets = [Event(f"secret {block}-{n}", f"secret {n}", float(n)) for n in range(40)]
            await store.append("secret user", secrets)
        assert traces() > 800
        await store.delete("secret user")
        assert traces() == 0
        assert await store.history("user 3", 3) == ["item7", "item8", "item9"]

    with_store(path, scenario)


def test_what_a_reader_kept_in_the_log_goes_with_the_next_commit(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(users_sqlite_file, "_BUSY_SECONDS", 0.05)
    log = path.with_name("users.sqlite-wal")

    async def scenario(store: SqliteEventStore) -> None:
        await store.append("ann", [Event("1", "secret", 1.0)])
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM events").fetchone()
        await store.delete("ann")
        assert b"secret" in log.read_bytes()
        reader.execute("COMMIT")
        reader.close()
        await store.append("bob", [Event("1", "i1", 1.0)])
        assert b"secret" not in log.read_bytes() + path.read_bytes()

    with_store(path, scenario)


def test_only_the_owner_reads_it(path: Path, tmp_path: Path):
    async def scenario(store: SqliteEventStore) -> None:
        await store.append("ann", [Event("1", "i1", 1.0)])
        assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}

    with_store(path, scenario)


def test_it_survives_being_copied_when_closed(path: Path, tmp_path: Path):
    with_store(path, lambda store: store.append("ann", [Event("1", "i1", 1.0)]))
    assert [file.name for file in tmp_path.iterdir()] == ["users.sqlite"]
    copy = Path(shutil.copy(path, tmp_path / "copy.sqlite"))

    async def read(store: SqliteEventStore) -> None:
        assert await store.history("ann", 9) == ["i1"]

    with_store(copy, read)
