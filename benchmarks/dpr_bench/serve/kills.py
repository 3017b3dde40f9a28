# kill -9 while events are being stored: is one that was acknowledged ever lost?
"""Kill the server under load and look what is left."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import quote

from dpr_bench.kernel_progress import Watch
from dpr_bench.serve.client import Client
from dpr_bench.serve.pages import page, table
from dpr_bench.serve.processes import dpr_serve
from dpr_infer import Recommender

__all__ = ["KillResults", "KillRound", "Sender", "kills_markdown", "measure_kills"]

_SENDERS = 8  # at once, so that a kill meets commits of several
_MAX_HISTORY = 10_000
_MOST_EVENTS = 1000  # in one call
_LOAD_SECONDS = (0.3, 1.5)


@dataclass(frozen=True, kw_only=True)
class KillRound:
    """One kill: events acknowledged before it, lost, kept although they were not acknowledged, and out of order."""

    acknowledged: int
    lost: int
    unacknowledged_kept: int
    disordered_users: int
    restart_seconds: float


@dataclass(frozen=True, kw_only=True)
class KillResults:
    """All kills."""

    rounds: list[KillRound] = field(default_factory=list)
    events_per_second: float

    def total(self, name: str) -> int:
        """Sum of one column."""
        return sum(int(getattr(one, name)) for one in self.rounds)

    @property
    def verdict(self) -> str:
        """One line."""
        return (
            f"{len(self.rounds)} kills, {self.total('acknowledged')} events acknowledged, {self.total('lost')} lost, "
            f"{self.total('disordered_users')} histories out of order"
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "kills": len(self.rounds),
            "acknowledged": self.total("acknowledged"),
            "lost": self.total("lost"),
            "disordered_users": self.total("disordered_users"),
            "events_per_second": self.events_per_second,
            "rounds": [asdict(one) for one in self.rounds],
        }


class Sender:
    """Stores one user's events, one a call, and remembers which were acknowledged.

    Parameters
    ----------
    user : str
        Whose events.
    items : sequence of str
        Known item ids, used in turn.
    """

    def __init__(self, user: str, items: Sequence[str]) -> None:
        self.path = f"/v1/users/{quote(user, safe='')}"
        self.acknowledged: list[dict[str, Any]] = []
        self._items = items

    def send_until(self, stopped: Event, port: int) -> None:
        """Send events until the server is gone or `stopped` is set."""
        with Client(port, patience=10.0) as client:
            for number in range(_MAX_HISTORY):
                event = {
                    "event_id": f"e{number}",
                    "item": self._items[number % len(self._items)],
                    "timestamp": float(number),
                }
                try:
                    reply = client.post(f"{self.path}/events", {"events": [event]})
                except OSError:
                    return
                if reply.status // 100 == 2:
                    self.acknowledged.append(event)
                if stopped.is_set():
                    return

    def lost(self, client: Client) -> int:
        """How many acknowledged events the server does not have: sent again, they are stored and no duplicates."""
        lost = 0
        for first in range(0, len(self.acknowledged), _MOST_EVENTS):
            events = self.acknowledged[first : first + _MOST_EVENTS]
            lost += int(client.post(f"{self.path}/events", {"events": events}).json()["stored"])
        return lost

    def history(self, client: Client) -> list[str]:
        """The user's items as the server has them."""
        return list(client.get(self.path).json()["history"])


def measure_kills(bundle: Path, kills: int, watch: Watch, *, seed: int = 0) -> KillResults:
    """Kill the server `kills` times while eight senders store events, each time on the same file.

    Parameters
    ----------
    bundle : Path
        What is served.
    kills : int
        How often, >= 1.
    watch : Watch
        Is told what is being done.
    seed : int
        Of the moments.

    Returns
    -------
    KillResults
        What was lost.

    Raises
    ------
    ValueError
        If the server does not start again.
    """
    items = [item for history in Recommender(bundle).examples.values() for item in history]
    moments = random.Random(seed)
    rounds, busy = [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        users = str(Path(folder) / "users.sqlite")
        server = dpr_serve(bundle, "--max-history", str(_MAX_HISTORY), users=users)
        try:
            server.start()
            watch.step("killing the server")
            for number in range(kills):
                watch.tick(number + 1, kills)
                senders = [Sender(f"kill {number} sender {n}", items) for n in range(_SENDERS)]
                stopped = Event()
                with ThreadPoolExecutor(_SENDERS) as pool:
                    running = [pool.submit(one.send_until, stopped, server.port) for one in senders]
                    seconds = moments.uniform(*_LOAD_SECONDS)
                    time.sleep(seconds)
                    server.kill()
                    stopped.set()
                for sending in running:
                    sending.result()
                busy += seconds
                restart = server.start()
                rounds.append(_judge(senders, server.port, restart))
        finally:
            server.close()
    total = sum(one.acknowledged for one in rounds)
    return KillResults(rounds=rounds, events_per_second=total / busy)


def _judge(senders: Sequence[Sender], port: int, restart_seconds: float) -> KillRound:
    lost, extra, disordered = 0, 0, 0
    with Client(port) as client:
        for sender in senders:
            history = sender.history(client)
            expected = [event["item"] for event in sender.acknowledged]
            # One event may have been stored whose acknowledgement the kill cut off.
            disordered += history[: len(expected)] != expected
            extra += max(0, len(history) - len(expected))
            lost += sender.lost(client)
    return KillRound(
        acknowledged=sum(len(sender.acknowledged) for sender in senders),
        lost=lost,
        unacknowledged_kept=extra,
        disordered_users=disordered,
        restart_seconds=restart_seconds,
    )


def kills_markdown(results: KillResults, command: str, setup: Mapping[str, Any]) -> str:
    """The page of the results."""
    how = (
        f"{_SENDERS} senders store events of users of their own, one a call ({results.events_per_second:,.0f} a "
        "second), in an SQLite file; the process gets SIGKILL at a random moment and is started again on the same "
        "file. Then all acknowledged events are sent again: one that is stored, and no duplicate, had been lost. This "
        "kills the process; a power failure of the machine also needs a disk that keeps what it says is synchronised."
    )
    columns = [
        "kill",
        "acknowledged",
        "lost",
        "kept, not acknowledged",
        "histories out of order",
        "restart s",
    ]
    rows = [
        [
            number,
            one.acknowledged,
            one.lost,
            one.unacknowledged_kept,
            one.disordered_users,
            f"{one.restart_seconds:.1f}",
        ]
        for number, one in enumerate(results.rounds, 1)
    ]
    return page("Kills", command, setup, [how, f"**{results.verdict}.**", table(columns, rows)])
