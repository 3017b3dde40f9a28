# wrk, the load generator: how it is run and what it says.
"""Load a server with wrk."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dpr_bench.serve.processes import pinned

__all__ = ["WrkResult", "parse_wrk", "require_wrk", "run_wrk"]

_SCRIPT = Path(__file__).with_name("wrk.lua")
_MARK = "RESULT "
_PATIENCE_SECONDS = 15  # a slower answer is a timeout


@dataclass(frozen=True, kw_only=True)
class WrkResult:
    """What a closed loop of connections met.

    Attributes
    ----------
    throughput : float
        Answers with status 200 a second.
    p50, p90, p99, longest : float
        Milliseconds of all answers, corrected by wrk for requests that a stalled connection could not send.
    statuses : dict of int to int
        Answers by status.
    socket_errors, timeouts : int
        Connections that failed, and answers that took longer than 15 s.
    """

    throughput: float
    p50: float
    p90: float
    p99: float
    longest: float
    statuses: dict[int, int]
    socket_errors: int
    timeouts: int

    @property
    def failures(self) -> int:
        """Everything that is neither 200 nor 503."""
        bad = sum(count for status, count in self.statuses.items() if status not in (200, 503))
        return bad + self.socket_errors + self.timeouts

    @property
    def shed(self) -> int:
        """Requests that were refused by 503."""
        return self.statuses.get(503, 0)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def require_wrk() -> None:
    """Raise ValueError if wrk is not installed."""
    if shutil.which("wrk") is None:
        raise ValueError("the load generator wrk is missing: apt-get install wrk")


def run_wrk(
    url: str, bodies: Path, *, connections: int, seconds: float, core: int | None, threads: int = 1
) -> WrkResult:
    """Send requests in a closed loop: every connection waits for its answer, then sends its next request.

    Parameters
    ----------
    url : str
        Where to POST.
    bodies : Path
        JSON bodies, one a line, sent in turn.
    connections : int
        Kept open, >= 1.
    seconds : float
        For so long; whole seconds are used, at least one.
    core : int or None
        The core that wrk runs on; None for any.
    threads : int
        Of wrk.

    Returns
    -------
    WrkResult
        What came back.

    Raises
    ------
    ValueError
        If wrk fails, or says nothing that can be read.
    """
    whole = max(1, round(seconds))
    options = [f"-t{min(threads, connections)}", f"-c{connections}", f"-d{whole}s"]
    command = [*pinned(core), "wrk", *options, "--timeout", f"{_PATIENCE_SECONDS}s", "-s", str(_SCRIPT)]
    done = subprocess.run(  # noqa: S603 - a command of our own
        [*command, url, "--", str(bodies)],
        capture_output=True,
        text=True,
        check=False,
        timeout=whole + 4 * _PATIENCE_SECONDS,
    )
    if done.returncode != 0:
        raise ValueError(f"wrk failed with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return parse_wrk(done.stdout)


def parse_wrk(output: str) -> WrkResult:
    """Read the line that wrk.lua prints.

    Raises
    ------
    ValueError
        If there is none.
    """
    lines = [line for line in output.splitlines() if line.startswith(_MARK)]
    if len(lines) != 1:
        raise ValueError(f"wrk must print one line {_MARK.strip()}; got {output.strip()!r}")
    said = json.loads(lines[0].removeprefix(_MARK))
    statuses = {int(status): int(count) for status, count in said["statuses"].items()}
    return WrkResult(
        throughput=statuses.get(200, 0) / (said["duration_us"] / 1e6),
        p50=said["p50_us"] / 1e3,
        p90=said["p90_us"] / 1e3,
        p99=said["p99_us"] / 1e3,
        longest=said["max_us"] / 1e3,
        statuses=dict(sorted(statuses.items())),
        socket_errors=int(said["socket_errors"]),
        timeouts=int(said["timeouts"]),
    )
