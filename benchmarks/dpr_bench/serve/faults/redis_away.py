# Redis or Valkey dies and comes back.
"""Kill the store of histories under a server, and start it again."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from socket import create_connection
from typing import Any

from dpr_bench.serve.client import Client
from dpr_bench.serve.faults.outcome import FaultSetup, Outcome, counted
from dpr_bench.serve.processes import dpr_serve, free_port, serving

__all__ = ["redis_gone_and_back"]

_PATIENCE_SECONDS = 30.0
_CALLS = 50
_EVENTS_PATH = "/v1/users/ann/events"
_DONE = "kill -9 of redis-server (appendfsync always) under the server, then it is started again."
_EXPECTED = (
    "503 for what needs histories, 200 for what does not; all works again by itself, and no acknowledged event is "
    "lost"
)


def redis_gone_and_back(setup: FaultSetup) -> Outcome:
    """Store events, kill the store, ask, start the store again, and wait until events are stored again."""
    name = "Redis gone and back"
    command = shutil.which("valkey-server") or shutil.which("redis-server")
    if command is None:
        why: dict[str, str | int | float] = {"why": "neither valkey-server nor redis-server is installed"}
        return Outcome(name=name, done=_DONE, expected=_EXPECTED, measured=why, passed=None)
    with ExitStack() as stack:
        redis = _Redis(command, setup.folder)
        stack.callback(redis.kill)
        redis.start()
        server = stack.enter_context(
            serving(dpr_serve(setup.bundle, users=f"redis://127.0.0.1:{redis.port}/0"))
        )
        client = stack.enter_context(Client(server.port))
        stored = Counter(_store(client, setup, number) for number in range(_CALLS))
        redis.kill()
        away = Counter(_store(client, setup, _CALLS + number) for number in range(5))
        away[client.post("/v1/recommend", {"user": "ann"}).status] += 1
        without = client.post("/v1/recommend", {"history": list(setup.history)}).status
        redis.start()
        seconds = _until_stored(client, setup)
        events = [_event(setup, number) for number in range(_CALLS)]
        lost = client.post(_EVENTS_PATH, {"events": events}).json().get("stored", _CALLS)
    return Outcome(
        name=name,
        done=_DONE,
        expected=_EXPECTED,
        measured={
            "before": counted(stored),
            "while it is away": counted(away),
            "recommendations by history meanwhile": without,
            "seconds until events are stored again": seconds,
            "acknowledged events lost": int(lost),
        },
        passed=all(status // 100 == 2 for status in stored)
        and set(away) == {503}
        and without == 200
        and seconds < _PATIENCE_SECONDS
        and lost == 0,
    )


class _Redis:
    """A server that keeps its append-only file, and its address, over a kill."""

    def __init__(self, command: str, folder: Path) -> None:
        self.port = free_port()
        options = {"port": self.port, "bind": "127.0.0.1", "dir": folder, "save": ""}
        options |= {"appendonly": "yes", "appendfsync": "always"}
        self._words = [command, *(w for name, value in options.items() for w in (f"--{name}", str(value)))]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._words, stdout=subprocess.DEVNULL)  # noqa: S603
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            try:
                with create_connection(("127.0.0.1", self.port), 1.0) as probe:
                    probe.sendall(b"PING\r\n")
                    if probe.recv(16).startswith(b"+PONG"):
                        return
            except OSError:
                pass
            time.sleep(0.02)
        raise ValueError(f"{self._words[0]} does not answer")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def _store(client: Client, setup: FaultSetup, number: int) -> int:
    return client.post(_EVENTS_PATH, {"events": [_event(setup, number)]}).status


def _until_stored(client: Client, setup: FaultSetup) -> float:
    begun = time.monotonic()
    while _store(client, setup, 2 * _CALLS) // 100 != 2 and time.monotonic() < begun + _PATIENCE_SECONDS:
        time.sleep(0.02)
    return time.monotonic() - begun


def _event(setup: FaultSetup, number: int) -> dict[str, Any]:
    items: Sequence[str] = setup.history
    return {"event_id": f"e{number}", "item": items[number % len(items)], "timestamp": float(number)}
