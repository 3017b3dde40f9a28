# A bundle that is bad when the server is told to load it again.
"""Reload corrupt bundles under load, then a whole one."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

from dpr_bench.serve.client import Client
from dpr_bench.serve.faults.outcome import FaultSetup, Outcome, counted
from dpr_bench.serve.faults.regular import regular_client
from dpr_bench.serve.processes import ServerProcess, dpr_serve, serving

__all__ = ["corrupt_bundle"]

_PATIENCE_SECONDS = 60.0


def corrupt_bundle(setup: FaultSetup) -> Outcome:
    """Flip bits of the catalogue, then take the manifest away, and reload each time by SIGHUP."""
    copy = Path(shutil.copytree(setup.bundle, setup.folder / "bundle"))
    body = {"history": list(setup.history), "prompt": "a comedy", "k": 10}
    server = dpr_serve(copy)
    with serving(server), Client(server.port) as client, regular_client(server.port, body) as regular:
        before = client.post("/v1/recommend", body).json()
        _replace(copy / "catalogue.safetensors", _flipped((copy / "catalogue.safetensors").read_bytes()))
        refused = [_reload(server, "failed")]
        (copy / "manifest.json").unlink()
        refused.append(_reload(server, "failed"))
        between = client.post("/v1/recommend", body).json()
        for name in ("catalogue.safetensors", "manifest.json"):
            _replace(copy / name, (setup.bundle / name).read_bytes())
        loaded = _reload(server, "ok")
        after = client.post("/v1/recommend", body).json()
    same = _what(before) == _what(between) == _what(after)
    return Outcome(
        name="corrupt bundle",
        done="SIGHUP with a bit of the catalogue flipped, with the manifest missing, and with the whole bundle back, "
        "while a client asks.",
        expected="both bad bundles are refused and the old one goes on serving; the good one is loaded; no request "
        "fails",
        measured={
            "bad bundles refused": sum(refused),
            "good bundle loaded": int(loaded),
            "same answers": int(same),
            "requests meanwhile": counted(regular.statuses),
            "p99 ms": regular.p99_ms,
        },
        passed=all(refused) and loaded and same and set(regular.statuses) == {200},
    )


def _what(answer: dict[str, Any]) -> tuple[object, list[str]]:
    """Model and items. Scores may differ in their last digits: another batch size, another order of sums."""
    return answer["model"], [item["id"] for item in answer["items"]]


def _replace(path: Path, content: bytes) -> None:
    """As a deployment does: a new file in the place of the old one, which a server may still have mapped."""
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(content)
    os.replace(new, path)  # noqa: PTH105 - the atomic one, by its name


def _flipped(content: bytes) -> bytes:
    changed = bytearray(content)
    changed[-len(changed) // 3] ^= 0x40
    return bytes(changed)


def _reload(server: ServerProcess, result: str) -> bool:
    """Send SIGHUP and wait until a reload has ended; whether with this result."""
    label = f'result="{result}"'
    wanted = server.metric("dpr_reloads_total", label)
    every = _reloads(server)
    server.signal(signal.SIGHUP)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while _reloads(server) == every and time.monotonic() < deadline:
        time.sleep(0.05)
    return server.metric("dpr_reloads_total", label) == wanted + 1


def _reloads(server: ServerProcess) -> float:
    return sum(server.metric("dpr_reloads_total", f'result="{result}"') for result in ("ok", "failed"))
