# Clients that never finish what they say.
"""Hold many connections open by a byte a second."""

from __future__ import annotations

import socket
import time

from dpr_bench.serve.faults.outcome import FaultSetup, Outcome, counted
from dpr_bench.serve.faults.regular import Regular
from dpr_bench.serve.processes import dpr_serve, footprint, serving

__all__ = ["slow_clients"]

_CLIENTS = 200
_HEAD = b"POST /v1/recommend HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
_WHOLE_HEAD = _HEAD + b"Content-Length: 1000\r\n\r\n"
# What is said at once, and what byte by byte: a head that does not end, and a body that does not.
_KINDS = ((b"", _HEAD), (_WHOLE_HEAD, b'{"history": [' + b" " * 900))
_MOST_SLOWER = 1.5


def slow_clients(setup: FaultSetup) -> Outcome:
    """Half of the slow clients dawdle in their headers, half in their bodies; a regular one asks beside them."""
    body = {"history": list(setup.history), "prompt": "a comedy"}
    with serving(dpr_serve(setup.bundle)) as server:
        alone, beside = Regular(), Regular()
        Regular().ask_for(server.port, body, 1.0)  # warms up
        alone.ask_for(server.port, body, setup.seconds)
        before = footprint(server.pid)
        slow = [_Slow(server.port, *_KINDS[number % 2]) for number in range(_CLIENTS)]
        end = time.monotonic() + setup.seconds
        while time.monotonic() < end:
            for one in slow:
                one.send_a_byte()
            beside.ask_for(server.port, body, 1.0)
        during = footprint(server.pid)
        closed = sum(one.closed for one in slow)
        for one in slow:
            one.close()
        Regular().ask_for(server.port, body, 1.0)
        after = footprint(server.pid)
    return Outcome(
        name="slow clients",
        done=f"{_CLIENTS} connections send a byte a second, half of them of their headers, half of their bodies.",
        expected=f"the regular client gets all its answers, its p50 at most {_MOST_SLOWER} times as long; no "
        "descriptor stays open when they are gone",
        measured={
            "regular client": counted(beside.statuses),
            "p50 ms alone": alone.p50_ms,
            "p50 ms beside them": beside.p50_ms,
            "p99 ms alone": alone.p99_ms,
            "p99 ms beside them": beside.p99_ms,
            "closed by the server": closed,
            "descriptors before, during, after": f"{before.descriptors}, {during.descriptors}, {after.descriptors}",
        },
        passed=set(beside.statuses) == {200}
        and beside.p50_ms <= _MOST_SLOWER * alone.p50_ms
        and after.descriptors <= before.descriptors + 2,
    )


class _Slow:
    """One slow client."""

    def __init__(self, port: int, at_once: bytes, slowly: bytes) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 5.0)
        self._socket.sendall(at_once)
        self._socket.setblocking(False)
        self._rest = iter(slowly)
        self.closed = False

    def send_a_byte(self) -> None:
        """Send the next byte, and notice if the server has had enough."""
        if self.closed:
            return
        try:
            self._socket.send(bytes([next(self._rest, 0x20)]))
            while self._socket.recv(4096):  # an answer before the end of the request
                pass
            self.closed = True
        except BlockingIOError:
            return
        except OSError:
            self.closed = True

    def close(self) -> None:
        self._socket.close()
