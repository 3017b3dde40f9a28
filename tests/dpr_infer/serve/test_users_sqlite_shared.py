# The SQLite file of user histories when another program opens and closes it, a backup say.
from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

from dpr_infer.serve.users import Event
from dpr_infer.serve.users_sqlite import SqliteEventStore

BACK_UP = """
import sqlite3, sys
source, copy = (sqlite3.connect(path, isolation_level=None) for path in sys.argv[1:])
source.backup(copy)
copy.close()
source.close()
"""


def test_a_backup_takes_nothing_from_under_the_store(tmp_path: Path):
    """SQLite removes the log when the last connection is closed: a backup's is not the last one."""
    path, copy, later = (tmp_path / name for name in ("users.sqlite", "copy.sqlite", "later.sqlite"))

    def back_up(target: Path) -> list[str]:
        subprocess.run([sys.executable, "-c", BACK_UP, str(path), str(target)], check=True)
        with sqlite3.connect(target) as connection:
            rows = connection.execute("SELECT item FROM events ORDER BY arrival").fetchall()
        connection.close()
        return [item for (item,) in rows]

    async def scenario() -> None:
        store = SqliteEventStore(path, max_history=10)
        await store.append("user", [Event("1", "first", 1.0)])
        assert back_up(copy) == ["first"]
        assert path.with_name("users.sqlite-wal").exists()
        await store.append("user", [Event("2", "second", 2.0)])
        assert back_up(later) == ["first", "second"]
        await store.close()

    asyncio.run(scenario())
