# An open loop: requests come at their own rate, whether the server keeps up or not.
"""Send different requests at a fixed rate."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Flood", "send_flood"]

_PATIENCE_SECONDS = 20.0


@dataclass
class Flood:
    """What a flood met.

    Attributes
    ----------
    sent : int
        Requests that went out.
    late : int
        Requests that were not sent, since every connection was waiting for an answer.
    statuses : Counter
        Answers by status; 0 for none.
    hopeless : int
        Answers 503 that do not say when to try again.
    seconds : float
        How long it lasted.
    """

    sent: int = 0
    late: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    hopeless: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Requests sent a second."""
        return self.sent / self.seconds


def send_flood(
    port: int,
    path: str,
    body: Callable[[int], bytes],
    *,
    rate: float,
    seconds: float,
    connections: int = 1000,
) -> Flood:
    """POST bodies at a rate.

    Parameters
    ----------
    port : int
        Of 127.0.0.1.
    path : str
        Where to.
    body : callable
        Gives the n-th body, JSON.
    rate : float
        Requests a second.
    seconds : float
        For so long; answers are then waited for.
    connections : int
        Most requests that wait for their answers at a time.
    """
    return asyncio.run(_flood(port, path, body, rate, seconds, connections))


async def _flood(
    port: int, path: str, body: Callable[[int], bytes], rate: float, seconds: float, connections: int
) -> Flood:
    flood = Flood()
    idle: list[_Connection] = []
    tasks: set[asyncio.Task[None]] = set()
    begun = time.monotonic()
    number = 0
    while (elapsed := time.monotonic() - begun) < seconds:
        while number < elapsed * rate:
            if len(tasks) < connections:
                connection = idle.pop() if idle else _Connection(port, path)
                task = asyncio.create_task(_send(connection, body(number), flood, idle))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            else:
                flood.late += 1
            number += 1
        await asyncio.sleep(0.001)
    flood.seconds = time.monotonic() - begun
    await asyncio.gather(*tasks)
    for connection in idle:
        connection.close()
    return flood


async def _send(connection: _Connection, body: bytes, flood: Flood, idle: list[_Connection]) -> None:
    flood.sent += 1
    try:
        status, says_when = await asyncio.wait_for(connection.post(body), _PATIENCE_SECONDS)
    except (OSError, ValueError, TimeoutError, EOFError):
        status, says_when = 0, True
        connection.close()
    else:
        idle.append(connection)
    flood.hopeless += status == 503 and not says_when
    flood.statuses[status] += 1


class _Connection:
    """One connection that stays open, and the least of HTTP/1.1."""

    def __init__(self, port: int, path: str) -> None:
        self._port = port
        self._head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: "
        )
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, body: bytes) -> tuple[int, bool]:
        """Send a body, read the whole answer, and return its status and whether it has Retry-After."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(f"{self._head}{len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = next(
            int(line.partition(":")[2]) for line in head.split("\r\n") if line.startswith("content-length:")
        )
        await reader.readexactly(length)
        if "\r\nconnection: close" in head:
            self.close()
        return int(head.split(" ", 2)[1]), "\r\nretry-after:" in head

    def close(self) -> None:
        """Close it; the next post opens it again."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
