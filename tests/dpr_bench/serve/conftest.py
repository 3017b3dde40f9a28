# A checkpoint trained for seconds and the bundle made of it; a bundle made by hand, which is there at once; and a
# server that says what a test tells it to say.

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

import tiny_bundle
import tiny_model
from dpr_export.write_bundle import export_bundle

Answer = Callable[[str, bytes], tuple[int, dict[str, str], object]]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.tiny_checkpoint(tmp_path_factory.mktemp("serve") / "checkpoint")


@pytest.fixture(scope="session")
def hand_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle.write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="session")
def bundle(checkpoint: Path) -> Path:
    folder = checkpoint.parent / "bundle"
    export_bundle(checkpoint, folder)
    return folder


class StubServer:
    """Answers by a function of path and body, and remembers the bodies."""

    def __init__(self, answer: Answer) -> None:
        bodies: list[bytes] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                bodies.append(body)
                self._say(*answer(self.path, body))

            def do_GET(self) -> None:
                self._say(*answer(self.path, b""))

            def _say(self, status: int, headers: dict[str, str], document: object) -> None:
                content = json.dumps(document).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *arguments: object) -> None:
                return

        self.bodies = bodies
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def stub() -> Iterator[Callable[[Answer], StubServer]]:
    """Starts such servers."""
    started: list[StubServer] = []

    def start(answer: Answer) -> StubServer:
        started.append(StubServer(answer))
        return started[-1]

    yield start
    for server in started:
        server.close()
