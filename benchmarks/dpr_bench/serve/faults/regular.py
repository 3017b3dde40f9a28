# The regular client beside a fault: what does it notice?
"""A client that asks at an even pace while something goes wrong."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

from dpr_bench.serve.client import Client
from dpr_bench.serve.faults.outcome import percentile_ms

__all__ = ["Regular", "regular_client"]

_PACE_SECONDS = 0.02


class Regular:
    """What the regular client met: statuses (0 for no answer), and seconds of the answers."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.seconds: list[float] = []

    @property
    def p50_ms(self) -> float:
        """Median time of an answer."""
        return percentile_ms(self.seconds, 50)

    @property
    def p99_ms(self) -> float:
        """99th percentile of the time of an answer."""
        return percentile_ms(self.seconds, 99)

    def ask(self, client: Client, body: Mapping[str, Any]) -> None:
        """Ask once."""
        try:
            reply = client.post("/v1/recommend", body)
        except OSError:
            self.statuses[0] += 1
        else:
            self.statuses[reply.status] += 1
            self.seconds.append(reply.seconds)

    def ask_for(self, port: int, body: Mapping[str, Any], seconds: float) -> None:
        """Ask at an even pace for a while."""
        end = time.monotonic() + seconds
        with Client(port) as client:
            while time.monotonic() < end:
                self.ask(client, body)
                time.sleep(_PACE_SECONDS)


@contextmanager
def regular_client(port: int, body: Mapping[str, Any]) -> Iterator[Regular]:
    """Ask at an even pace, on a thread of its own, while the block runs."""
    met, stopped = Regular(), Event()

    def ask() -> None:
        with Client(port) as client:
            while not stopped.is_set():
                met.ask(client, body)
                stopped.wait(_PACE_SECONDS)

    thread = Thread(target=ask)
    thread.start()
    try:
        yield met
    finally:
        stopped.set()
        thread.join()
