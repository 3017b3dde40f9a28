# A server as a process: it starts, tells where it listens, reloads on SIGHUP, drains on SIGTERM, and ends with 0.

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest

import tiny_bundle
from dpr_infer.cli.serve import main
from dpr_infer.serve.logs import LineWriter

COMMAND = [sys.executable, "-c", "from dpr_infer.cli.serve import main; main()"]


class Process:
    """A running dpr-serve. Whatever is awaited comes as a line of its log."""

    def __init__(self, bundle: Path, *flags: str) -> None:
        arguments = [str(bundle), "--port", "0", "--users", "none", "--max-batch", "1", *flags]
        self.process = subprocess.Popen([*COMMAND, *arguments], stderr=subprocess.PIPE, cwd=bundle.parent)
        self.address = self.line("listening on http://").rpartition("http://")[2]

    def line(self, event: str) -> str:
        """Wait for a line of the log that has this text, and return what it tells."""
        assert self.process.stderr is not None
        seen = []
        for line in self.process.stderr:
            seen.append(line)
            told = json.loads(line)
            if event in told["event"]:
                return str(told["event"])
        raise AssertionError(f"the log ended before {event!r}; it has {seen}")

    def end(self) -> tuple[int, list[dict[str, Any]]]:
        """Wait for the end; returns the exit code and the rest of the log."""
        assert self.process.stderr is not None
        lines = [json.loads(line) for line in self.process.stderr]
        return self.process.wait(), lines

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://{self.address}{path}", timeout=20)

    def connect(self) -> socket.socket:
        host, port = self.address.split(":")
        return socket.create_connection((host, int(port)), timeout=20)


Start = Callable[..., Process]


@pytest.fixture
def start(copy: Path) -> Iterator[Start]:
    """Starts servers, warm when they are returned, and ends them with the test."""
    with ExitStack() as stack:

        def begin(*flags: str) -> Process:
            process = Process(copy, *flags)
            stack.enter_context(process.process)
            stack.callback(process.process.kill)
            process.line("is ready")
            return process

        yield begin


@pytest.fixture
def started(start: Start) -> Process:
    return start()


def begin_request(connection: socket.socket) -> None:
    """Send a request but for the end of its body."""
    head = b"POST /v1/recommend HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n"
    connection.sendall(head + b"{")


def ask(connection: socket.socket, request: bytes) -> bytes:
    connection.sendall(request)
    return connection.recv(65_536)


def test_sigterm_finishes_what_is_under_way(started: Process):
    with started.connect() as under_way, started.connect() as idle:
        assert b"200 OK" in ask(idle, b"GET /v2/health/ready HTTP/1.1\r\nHost: t\r\n\r\n")
        begin_request(under_way)
        assert b"200 OK" in ask(idle, b"GET /v2/health/ready HTTP/1.1\r\nHost: t\r\n\r\n")
        started.process.send_signal(signal.SIGTERM)
        started.line("SIGTERM")
        refused = ask(idle, b"GET /v2/health/ready HTTP/1.1\r\nHost: t\r\n\r\n")
        assert b"503 " in refused
        assert b"connection: close" in refused.lower()
        with started.connect() as newcomer:
            refused = ask(newcomer, b"GET /v1/model HTTP/1.1\r\nHost: t\r\n\r\n")
            assert refused.startswith(b"HTTP/1.1 503 ")
            assert b"retry-after: 1\r\n" in refused.lower()
        assert started.get("/v2/health/live").status_code == 200
        assert ask(under_way, b"}").startswith(b"HTTP/1.1 200 OK")
    code, _ = started.end()
    assert code == 0


def test_an_idle_server_ends_on_sigint(started: Process):
    started.process.send_signal(signal.SIGINT)
    assert started.end()[0] == 0


def test_the_end_comes_in_time(start: Start):
    process = start("--drain-s", "0.2", "--request-timeout-s", "60")
    with process.connect() as under_way:
        begin_request(under_way)
        assert process.get("/v2/health/ready").status_code == 200
        process.process.send_signal(signal.SIGTERM)
        code, lines = process.end()
    assert code == 0
    assert "cut off" in lines[-1]["event"]


def test_a_second_signal_ends_at_once(start: Start):
    process = start("--drain-s", "60", "--request-timeout-s", "60")
    with process.connect() as under_way:
        begin_request(under_way)
        assert process.get("/v2/health/ready").status_code == 200
        process.process.send_signal(signal.SIGTERM)
        process.line("SIGTERM")
        process.process.send_signal(signal.SIGTERM)
        assert process.end()[0] == 0


def test_sighup_serves_the_new_bundle(started: Process, copy: Path):
    before = started.get("/v1/model").json()
    shutil.rmtree(copy)
    tiny_bundle.write_tiny_bundle(copy, seed=1, items=50)
    started.process.send_signal(signal.SIGHUP)
    assert before["model"]["version"] in started.line("reloaded: ")
    after = started.get("/v1/model").json()
    assert after["model"] != before["model"]
    assert (before["items"], after["items"]) == (40, 50)


def test_sighup_with_a_bad_bundle_changes_nothing(started: Process, copy: Path):
    before = started.get("/v1/model").json()
    content = bytearray((copy / "catalogue.safetensors").read_bytes())
    content[-1] ^= 1
    # A new file of the same size: the one that is mapped stays as it is.
    (copy / "new").write_bytes(content)
    (copy / "new").rename(copy / "catalogue.safetensors")
    started.process.send_signal(signal.SIGHUP)
    told = started.line("reload failed")
    assert "goes on serving" in told
    assert "catalogue.safetensors must have the SHA-256" in told
    assert started.get("/v1/model").json() == before
    assert 'dpr_reloads_total{result="failed"} 1.0' in started.get("/metrics").text


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command in this process, as it is run that does not get to listen: exit code and standard error."""
    monkeypatch.chdir(copy.parent)
    # Logging is the process's, which is the tests' here.
    monkeypatch.setattr("dpr_infer.serve.lifecycle.start_logging", lambda *_, **__: LineWriter(BytesIO()))

    def command(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["dpr-serve", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), capsys.readouterr().err

    return command


def test_an_address_in_use_is_said_before_anything_is_opened(run: Run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, told = run("nothing", "--port", port)
    assert code == 1
    assert re.fullmatch(r"error: host and port must be free.*Address already in use\n", told)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--port", "0", "nothing"], 1, "error: nothing must be a bundle"),
        ([], 2, "error: BUNDLE must be the folder"),
        (
            ["--port", "0", "copy", "--users", "ftp://somewhere", "--no-page"],
            2,
            "error: users must be a path",
        ),
        (["--threads", "0", "copy"], 2, "error: --threads must be an integer from 1 to 1024; got 0"),
    ],
)
def test_what_prevents_a_start_is_one_line(run: Run, arguments: list[str], code: int, message: str):
    ended, told = run(*arguments)
    assert ended == code
    assert told.startswith(message)
    assert told.count("\n") == 1


def test_a_misspelt_variable_is_told(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DPR_PROT", "80")
    assert "warning: DPR_PROT means nothing to dpr-serve\n" in run("nothing", "--port", "0")[1]


def test_without_its_extra_it_names_it(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "litestar", None)
    code, told = run("nothing", "--port", "0")
    assert code == 1
    assert told.startswith("error: dpr-serve needs dpr-infer[serve]")
