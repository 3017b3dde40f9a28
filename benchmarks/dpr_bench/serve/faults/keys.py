# Wrong and missing keys.
"""Ask a server that wants a key, with everything but it."""

from __future__ import annotations

import http.client
from collections import Counter
from collections.abc import Mapping

from dpr_bench.serve.client import Client
from dpr_bench.serve.faults.outcome import FaultSetup, Outcome, counted
from dpr_bench.serve.processes import dpr_serve, serving

__all__ = ["wrong_keys"]

_KEY = "a-key-of-the-benchmark-0123456789"
_ADMIN = "an-admin-key-of-the-benchmark-98765"
_WRONG: tuple[Mapping[str, str], ...] = (
    {},
    {"Authorization": ""},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer "},
    {"Authorization": f"Bearer {_KEY[:-1]}"},
    {"Authorization": f"Bearer {_KEY}x"},
    {"Authorization": f"Bearer {_KEY.upper()}"},
    {"Authorization": f"Bearer {_KEY},{_KEY}"},
    {"Authorization": f"Basic {_KEY}"},
    {"Authorization": _KEY},
    {"X-API-Key": ""},
    {"X-API-Key": "schl\u00fcssel"},
    {"X-API-Key": "x" * 8000},
    {"X-API-Key": _ADMIN},
    {"X-Admin-Key": _KEY},
    {"Cookie": f"key={_KEY}"},
)
_CLOSED = (
    ("POST", "/v1/recommend"),
    ("POST", "/v1/sessions"),
    ("GET", "/v1/items?q=a"),
    ("GET", "/v1/examples"),
    ("GET", "/v1/model"),
    ("GET", "/v1/users/ann"),
    ("DELETE", "/v1/users/ann"),
    ("GET", "/v2/models/any"),
)
_OPEN = ("/v2/health/live", "/v2/health/ready", "/metrics", "/")


def wrong_keys(setup: FaultSetup) -> Outcome:
    """Every closed route with every wrong key, then with the right one in both headers."""
    users = str(setup.folder / "users.sqlite")
    options = ("--api-key", _KEY, "--admin-key", _ADMIN)
    refused: Counter[int] = Counter()
    admin: Counter[int] = Counter()
    with serving(dpr_serve(setup.bundle, *options, users=users)) as server:
        for headers in _WRONG:
            for method, path in _CLOSED:
                refused[_status(server.port, method, path, headers)] += 1
            if headers.get("X-API-Key") != _ADMIN:
                admin[_status(server.port, "POST", "/v1/admin/reload", headers)] += 1
        right = Counter(
            _status(server.port, "GET", "/v1/model", headers)
            for headers in ({"Authorization": f"Bearer {_KEY}"}, {"X-API-Key": _KEY})
        )
        free = Counter(_status(server.port, "GET", path, {}) for path in _OPEN)
        said = server.said(1 << 20)
    return Outcome(
        name="wrong keys",
        done=f"{len(_WRONG)} wrong keys or none at {len(_CLOSED)} routes and the reload, then the right key.",
        expected="401 to all of them and 200 to the right key; health, metrics and page stay open; no key in the log",
        measured={
            "wrong": counted(refused),
            "reload": counted(admin),
            "right": counted(right),
            "open routes": counted(free),
            "keys in the log": said.count(_KEY) + said.count(_ADMIN),
        },
        passed=set(refused) == {401}
        and set(admin) <= {401, 403}
        and set(right) == {200}
        and set(free) == {200}
        and _KEY not in said
        and _ADMIN not in said,
    )


def _status(port: int, method: str, path: str, headers: Mapping[str, str]) -> int:
    body = b"{}" if method == "POST" else None
    with Client(port) as client:
        try:
            return client.send(method, path, body, headers).status
        except (OSError, http.client.HTTPException):
            return 0
