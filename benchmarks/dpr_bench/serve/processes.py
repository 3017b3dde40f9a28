# Servers as processes: started on a core of their own, waited for, looked at, and ended.
"""Run servers for measurements, on the loopback interface only."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from dpr_bench.serve.client import Client

__all__ = [
    "LOAD_CORE",
    "SERVER_CORE",
    "Footprint",
    "ServerProcess",
    "dpr_serve",
    "footprint",
    "free_port",
    "naive_serve",
    "on_load_core",
    "pinned",
    "serving",
]

_START_SECONDS = 180.0
_STOP_SECONDS = 30.0
# Two cores: one for the server, one for who asks. With one core, both share it.
_CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = _CORES[0], _CORES[-1]


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a process holds: resident memory in MiB, open file descriptors, threads."""

    resident_mib: float
    descriptors: int
    threads: int


class ServerProcess:
    """A server that was started, at ``http://127.0.0.1:port``.

    Parameters
    ----------
    command : sequence of str
        What to run.
    port : int
        Where it will listen.
    ready_path : str
        Answers 200 once the server is ready.
    environment : mapping
        Variables beside those of this process.
    """

    def __init__(
        self, command: Sequence[str], port: int, *, ready_path: str, environment: Mapping[str, str]
    ) -> None:
        self.command = list(command)
        self.port = port
        self._ready_path = ready_path
        self._environment = dict(environment)
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        assert self._process is not None, "the server does not run"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> float:
        """Start it and wait until it is ready.

        Returns
        -------
        float
            Seconds that this took.

        Raises
        ------
        ValueError
            If it ends, or is not ready in time; with the end of what it said.
        """
        begun = time.monotonic()
        self._process = subprocess.Popen(  # noqa: S603 - a command of our own
            self.command, stdout=self._log, stderr=self._log, env=os.environ | self._environment
        )
        while not self.answers():
            if self._process.poll() is not None:
                raise ValueError(f"{' '.join(self.command)} ended with {self._process.poll()}: {self.said()}")
            if time.monotonic() - begun > _START_SECONDS:
                self.kill()
                raise ValueError(f"{' '.join(self.command)} is not ready: {self.said()}")
            time.sleep(0.02)
        return time.monotonic() - begun

    def answers(self) -> bool:
        """Whether it says that it is ready."""
        try:
            with Client(self.port, patience=2.0) as client:
                return client.get(self._ready_path).status == 200
        except OSError:
            return False

    def metric(self, name: str, labels: str = "") -> float:
        """A value of its ``/metrics``, 0 if there is none: ``name{labels}``, labels as they are written there."""
        with Client(self.port) as client:
            page = client.get("/metrics").body.decode()
        prefix = f"{name}{{{labels}}} " if labels else f"{name} "
        return next(
            (float(line[len(prefix) :]) for line in page.splitlines() if line.startswith(prefix)), 0.0
        )

    def said(self, most: int = 2000) -> str:
        """The end of its output."""
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), most, max(0, size - most)).decode(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once, as a power failure of the process would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> int:
        """Ask it to end, and wait; what does not end is killed. Returns its exit code."""
        assert self._process is not None
        self._process.terminate()
        try:
            return self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return -signal.SIGKILL

    def close(self) -> None:
        """End it, if it runs, and forget what it said."""
        if self.running:
            self.stop()
        self._log.close()


@contextmanager
def serving(server: ServerProcess) -> Iterator[ServerProcess]:
    """Start a server for a block; it is ended whatever happens."""
    try:
        server.start()
        yield server
    finally:
        server.close()


def dpr_serve(
    bundle: Path,
    *options: str,
    users: str = "none",
    core: int | None = SERVER_CORE,
    before: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> ServerProcess:
    """A `dpr-serve` that is not started yet.

    Parameters
    ----------
    bundle : Path
        What it serves.
    *options : str
        Further flags.
    users : str
        Its store of histories.
    core : int or None
        Where it runs.
    before : sequence of str
        Words in front of the command, such as those of prlimit.
    environment : mapping, optional
        Further variables.
    """
    port = free_port()
    script = Path(sys.executable).with_name("dpr-serve")
    words = [*pinned(core), *before, str(script), str(bundle), "--port", str(port), "--users", users]
    words += ["--log-level", "warning", *options]
    return ServerProcess(words, port, ready_path="/v2/health/ready", environment=environment or {})


def naive_serve(checkpoint: Path, *, pool: bool, core: int | None = SERVER_CORE) -> ServerProcess:
    """The naive server, its model on a pool of threads or on the event loop; not started yet."""
    port = free_port()
    words = [*pinned(core), sys.executable, "-m", "dpr_bench.serve.naive", str(checkpoint), str(port)]
    words.append("pool" if pool else "loop")
    return ServerProcess(words, port, ready_path="/health", environment={"OMP_NUM_THREADS": "1"})


def pinned(core: int | None) -> list[str]:
    """Words that keep the command behind them on one core; none where `taskset` is missing or no core is named."""
    return [] if core is None or shutil.which("taskset") is None else ["taskset", "-c", str(core)]


@contextmanager
def on_load_core() -> Iterator[None]:
    """Keep this process, its new threads and what it starts off the server's core while the block runs."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {LOAD_CORE})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def footprint(pid: int) -> Footprint:
    """Look at a process of this machine."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    descriptors = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    return Footprint(int(fields["VmRSS"].split()[0]) / 1024, descriptors, int(fields["Threads"]))
