# deploy/redis.conf: enough for the store of user histories, and no more.
from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from dpr_infer.serve.users import Appended, Event, open_event_store

pytestmark = pytest.mark.debian("redis-server", "redis-server")


@pytest.fixture
def address(deploy):
    """The path of the socket of a server with the file. The folder is not pytest's: such paths must be short."""
    program = shutil.which("valkey-server") or shutil.which("redis-server")
    with tempfile.TemporaryDirectory(prefix="dpr-redis-") as folder:
        path = Path(folder) / "server.sock"
        command = [
            program,
            str(deploy / "redis.conf"),
            "--port",
            "0",
            "--unixsocket",
            str(path),
            "--dir",
            folder,
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            for line in server.stdout:
                if "ready to accept connections at" in line:
                    break
            yield path
            server.kill()


def told(path: Path, *commands: str) -> str:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall("".join(f"{command}\r\n" for command in (*commands, "QUIT")).encode())
        return b"".join(iter(lambda: client.recv(4096), b"")).decode()


def test_the_store_may_do_all_that_it_does(address):
    async def scenario():
        store = open_event_store(f"unix://dpr:PASSWORD@{address}", max_history=2)
        await store.check()
        events = [Event(str(i), f"i{i}", float(i)) for i in range(3)]
        assert await store.append("ann", events) == Appended(3, 0)
        assert await store.append("ann", events[1:]) == Appended(0, 2)
        assert (await store.history("ann", 9), await store.count("ann")) == (["i1", "i2"], 2)
        await store.delete("ann")
        assert await store.history("ann", 9) == []
        await store.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("command", ["FLUSHALL", "KEYS *", "GET other", "ZCARD other", "CONFIG GET dir"])
def test_whoever_has_its_password_can_do_little_else(command, address):
    assert "-NOPERM" in told(address, "AUTH dpr PASSWORD", command)


def test_nobody_is_let_in_without_password(address):
    assert "-NOAUTH" in told(address, "ZCARD dpr:user:x")
