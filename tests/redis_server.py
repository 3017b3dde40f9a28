# A Redis or Valkey server for tests, on a Unix socket in a folder of its own: no port, nothing left behind.

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

COMMAND = "redis-server"
PACKAGE = "redis-server"


class RedisServer:
    """Starts, dies and comes back at the same address, with what it had written to its append-only file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.socket = folder / "server.sock"
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = shutil.which("valkey-server") or shutil.which(COMMAND)
        assert command is not None
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "dir": str(self._folder),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        self._process = subprocess.Popen([command, *words], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while not self._answers():
            assert self._process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.01)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(os.fspath(self.socket))
            except OSError:
                return False
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith(b"+PONG")


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """A server that is stopped in the end. Its folder is not the test's own: paths of sockets must be short."""
    with tempfile.TemporaryDirectory(prefix="dpr-redis-") as folder:
        server = RedisServer(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.kill()
