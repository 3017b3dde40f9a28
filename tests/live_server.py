# A server that listens, in a thread of the test: for clients that speak HTTP themselves.

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import uvicorn
import uvloop

from dpr_infer.serve.app import build_app
from dpr_infer.serve.lifecycle import listen, uvicorn_config, watched
from dpr_infer.serve.request_record import RequestObserver
from dpr_infer.serve.settings import Settings


class LiveServer:
    """A server on 127.0.0.1, warm when `start` is over."""

    def __init__(self, settings: Settings, observers: Sequence[RequestObserver]) -> None:
        self._socket = listen("127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._settings, self._observers = settings, observers
        self._up = Event()
        self._failure: BaseException | None = None
        self._server: uvicorn.Server | None = None
        self._thread = Thread(target=self._run)
        self.services: Any = None

    def start(self) -> None:
        self._thread.start()
        self._up.wait()
        if self._failure is not None:
            self._thread.join()
            self._socket.close()
            raise self._failure

    def stop(self) -> None:
        assert self._server is not None
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve())
        except BaseException as error:  # the test's thread tells it
            self._failure = error
        finally:
            self._up.set()

    async def _serve(self) -> None:
        app = build_app(self._settings, self._observers)
        self.services = app.state.services
        self._server = uvicorn.Server(uvicorn_config(app, self._settings))
        serving = asyncio.create_task(self._server.serve(sockets=watched(self._socket)))
        await self.services.readiness.settled.wait()
        self._up.set()
        await serving


@contextmanager
def live_server(observers: Sequence[RequestObserver] = (), **settings: Any) -> Iterator[LiveServer]:
    """Run a server of these settings."""
    server = LiveServer(Settings(**({"users": "none", "max_batch": 4} | settings)), observers)
    server.start()
    try:
        yield server
    finally:
        server.stop()
