# A server from its first to its last moment: listening, signals, draining.

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any, cast

import uvicorn
import uvloop
from litestar import Litestar

from dpr_infer.errors import DprError
from dpr_infer.serve.app import build_app
from dpr_infer.serve.connection import BoundedConnection
from dpr_infer.serve.logs import RequestLog, start_logging
from dpr_infer.serve.readiness import DRAINING, FAILED
from dpr_infer.serve.services import Services
from dpr_infer.serve.settings import Settings
from dpr_infer.serve.tracing import Tracing

_log = logging.getLogger("dpr_infer.serve")

_MOST_CONNECTIONS = 10_000
_OTHER_FILES = 64  # bundle, store, logs, listening
# libuv accepts one connection in a turn of the event loop. Of a busy server a turn takes tens of milliseconds, and a
# thousand clients that come at once, or have left by then, would hold up everybody behind them for half a minute. So
# the listening socket is watched that many times over, for some 4 us of each a connection.
_ACCEPTED_AT_ONCE = 16


class ListenError(DprError):
    """The address can't be listened on."""


def run(settings: Settings) -> int:
    """Serve until a signal ends it.

    SIGTERM and SIGINT end it: what is under way is finished, within `drain_s`. A second one ends it at once. SIGHUP
    reloads the bundle.

    Parameters
    ----------
    settings : Settings
        What to serve, and how.

    Returns
    -------
    int
        The exit code: 0 after a signal, 1 if the model can't serve.

    Raises
    ------
    DprError
        If the address, the bundle or the store of users' events can't be opened.
    """
    with listen(settings.host, settings.port) as sock:
        writer = start_logging(settings.log_level, log_prompts=settings.log_prompts)
        log = RequestLog(writer, level=settings.log_level, log_prompts=settings.log_prompts)
        tracing = Tracing() if settings.otel else None
        app = build_app(settings, [log] if tracing is None else [log, tracing])
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(app, settings, sock, tracing))


def listen(host: str, port: int) -> socket.socket:
    """Bind an address; raises ListenError if that can't be done."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
        except OSError:
            sock.close()
            raise
    except OSError as error:
        raise ListenError(
            f"host and port must be free to listen on; {host}:{port}: {error.strerror}"
        ) from None
    return sock


def watched(sock: socket.socket) -> list[socket.socket]:
    """Return a listening socket and copies of it, for uvicorn to take a connection from each in turn."""
    return [sock, *(sock.dup() for _ in range(_ACCEPTED_AT_ONCE - 1))]


def uvicorn_config(app: Litestar, settings: Settings) -> uvicorn.Config:
    """Return how uvicorn serves an app of these settings."""
    return uvicorn.Config(
        app,
        http=cast("type[asyncio.Protocol]", _connections(settings)),
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=settings.keep_alive_s,
    )


async def _serve(app: Litestar, settings: Settings, sock: socket.socket, tracing: Tracing | None) -> int:
    server = _Server(uvicorn_config(app, settings))
    ending = _Ending(server, app.state.services, settings.drain_s)
    ending.listen_to_signals()
    host, port = sock.getsockname()[:2]
    _log.info("listening on http://%s:%d", f"[{host}]" if ":" in host else host, port)
    if app.state.services.events is not None:
        _log.info("users' events are kept in %s", _without_password(settings.users))
    await server.serve(sockets=watched(sock))
    if tracing is not None:
        await asyncio.to_thread(tracing.close)
    return 1 if app.state.services.readiness.state == FAILED else 0


def _without_password(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if separator else str(Path(url).resolve())


def _connections(settings: Settings) -> Any:
    """Return what makes connections, no more of them than this process may open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    may_open = _MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else soft - _OTHER_FILES
    most = max(1, min(_MOST_CONNECTIONS, may_open))
    return partial(BoundedConnection, patience_s=settings.request_timeout_s, most=most)


class _Server(uvicorn.Server):
    """uvicorn's server, which leaves signals alone: it would end with the signal's status, and not drain."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class _Ending:
    """What signals do."""

    def __init__(self, server: _Server, services: Services, drain_s: float) -> None:
        self._server = server
        self._services = services
        self._drain_s = drain_s
        self._tasks: set[asyncio.Task[None]] = set()

    def listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end, number)
        loop.add_signal_handler(signal.SIGHUP, self._start, self._reload)
        self._start(self._end_if_failed)

    def _start(self, what: Any) -> None:
        task = asyncio.get_running_loop().create_task(what())
        self._tasks.add(task)  # the loop alone would let it be collected
        task.add_done_callback(self._tasks.discard)

    def _end(self, number: int) -> None:
        if self._services.readiness.state == DRAINING:
            self._server.should_exit = self._server.force_exit = True
            return
        _log.info("%s: finishing what is under way", signal.Signals(number).name)
        self._services.readiness.become(DRAINING)
        # Whatever hangs, a warm-up or a client that does not read, the end comes in time.
        asyncio.get_running_loop().call_later(self._drain_s, _leave)
        self._start(self._drain)

    async def _drain(self) -> None:
        await self._services.readiness.idle()
        self._server.should_exit = True

    async def _end_if_failed(self) -> None:
        readiness = self._services.readiness
        await readiness.settled.wait()
        if readiness.state == FAILED:
            self._server.should_exit = True

    async def _reload(self) -> None:
        with contextlib.suppress(DprError):  # counted and written down by then
            await self._services.reloading.reload()


def _leave() -> None:
    _log.warning("the time to drain is over; what was still under way is cut off")
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)
