# A full disk under the users' events.
"""Fill the disk that events are stored on, then give it room again."""

from __future__ import annotations

import os
import resource
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpr_bench.serve.client import Client
from dpr_bench.serve.faults.outcome import FaultSetup, Outcome, counted
from dpr_bench.serve.processes import ServerProcess, dpr_serve, serving

__all__ = ["full_disk"]

_USERS = 50
_EVENTS = 40  # in one call
_MOST_CALLS = 2000
_SMALL, _LARGE = 1 << 20, 64 << 20  # bytes


@dataclass(frozen=True)
class _Room:
    """A place of little room: words in front of the server's command, and how it becomes large."""

    folder: Path
    kind: str
    before: Sequence[str]
    enlarge: Callable[[ServerProcess], None]


def full_disk(setup: FaultSetup) -> Outcome:
    """Store events until the disk is full, ask for recommendations meanwhile, and go on when there is room."""
    with _little_room(setup.folder) as room:
        server = dpr_serve(setup.bundle, users=str(room.folder / "users.sqlite"), before=room.before)
        with serving(server), Client(server.port) as client:
            acknowledged, refused = _fill(client, setup.history)
            meanwhile = Counter(
                client.post("/v1/recommend", body).status
                for body in ({"history": list(setup.history)}, {"user": "user 0"})
            )
            room.enlarge(server)
            after = client.post(_path(0), {"events": _events(_MOST_CALLS, setup.history)})
            lost = sum(_stored_again(client, call, setup.history) for call in acknowledged)
    return Outcome(
        name="full disk",
        done=f"Events are stored on {room.kind} until it is full; then it grows.",
        expected="503 for events while it is full, recommendations go on, events are stored again when there is room, "
        "none that was acknowledged is lost",
        measured={
            "calls acknowledged": len(acknowledged),
            "refused": counted(refused),
            "recommendations meanwhile": counted(meanwhile),
            "with room again": after.status,
            "acknowledged events lost": lost,
        },
        passed=set(refused) == {503} and set(meanwhile) == {200} and after.status // 100 == 2 and lost == 0,
    )


@contextmanager
def _little_room(folder: Path) -> Iterator[_Room]:
    """A small file system in memory where one may be mounted, or a limit on the size of files."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_SMALL}", "tmpfs", str(folder)]
    if os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0:  # noqa: S603
        try:
            yield _Room(folder, "a file system of 1 MiB", (), lambda _: _remount(folder))
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)  # noqa: S603, S607
    else:
        words = ("prlimit", f"--fsize={_SMALL}:unlimited", "--")
        yield _Room(folder, "files that may have 1 MiB", words, _lift_limit)


def _remount(folder: Path) -> None:
    subprocess.run(["mount", "-o", f"remount,size={_LARGE}", str(folder)], check=True)  # noqa: S603, S607


def _lift_limit(server: ServerProcess) -> None:
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _fill(client: Client, history: Sequence[str]) -> tuple[list[int], Counter[int]]:
    """Numbers of the calls that were acknowledged, and the statuses of ten that were not."""
    acknowledged: list[int] = []
    refused: Counter[int] = Counter()
    for call in range(_MOST_CALLS):
        status = client.post(_path(call), {"events": _events(call, history)}).status
        if status // 100 == 2:
            acknowledged.append(call)
        else:
            refused[status] += 1
            if refused.total() == 10:
                break
    return acknowledged, refused


def _stored_again(client: Client, call: int, history: Sequence[str]) -> int:
    return int(client.post(_path(call), {"events": _events(call, history)}).json()["stored"])


def _path(call: int) -> str:
    return f"/v1/users/user%20{call % _USERS}/events"


def _events(call: int, history: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"event_id": f"{call}-{n:0>100}", "item": history[n % len(history)], "timestamp": float(call)}
        for n in range(_EVENTS)
    ]
