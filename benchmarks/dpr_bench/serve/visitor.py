# A visitor who does a little of everything, so that a soak meets more than one route.
"""A steady mix of requests beside the load."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from dpr_bench.serve.client import Client, Reply

__all__ = ["Visitor"]

_PACE_SECONDS = 0.1
_USERS = 20


class Visitor:
    """Asks, round after round, for what no cache holds, and now and then for what is wrong.

    Parameters
    ----------
    port : int
        Of the server.
    history : sequence of str
        Known item ids.
    """

    def __init__(self, port: int, history: Sequence[str]) -> None:
        self._port = port
        self._history = list(history)
        self._statuses: Counter[int] = Counter()

    def keep_visiting(self, seconds: float) -> dict[int, int]:
        """Go round at a steady pace for a while; returns how often which status came."""
        begun = time.monotonic()
        for number in itertools.count():
            at = begun + number * _PACE_SECONDS
            if max(at, time.monotonic()) > begun + seconds:  # on a busy machine it may lag behind its pace
                return dict(self._statuses)
            time.sleep(max(0.0, at - time.monotonic()))
            with Client(self._port) as client:
                self._visit(client, number)
        raise AssertionError("count() does not end")

    def _visit(self, client: Client, number: int) -> None:
        item = self._history[number % len(self._history)]
        user = f"user {number % _USERS}"
        self._post(client, "/v1/recommend", {"history": self._history, "prompt": f"unseen wish {number}"})
        event = {"event_id": f"event {number}", "item": item}
        self._post(client, f"/v1/users/{user.replace(' ', '%20')}/events", {"events": [event]})
        self._post(client, "/v1/recommend", {"user": user, "prompt": "a comedy"})
        session = self._post(client, "/v1/sessions", {"history": self._history[:5]})
        if session.status == 201:
            path = f"/v1/sessions/{session.json()['id']}"
            self._post(client, f"{path}/turns", {"turn": "a comedy"})
            self._post(client, f"{path}/turns", {"turn": "but no war"})
        self._note(client.get(f"/v1/items?q=film%20{number}"))
        self._note(client.get("/nowhere"))
        self._post(client, "/v1/recommend", {"history": ["no such item"]})

    def _post(self, client: Client, path: str, document: dict[str, Any]) -> Reply:
        return self._note(client.post(path, document))

    def _note(self, reply: Reply) -> Reply:
        self._statuses[reply.status] += 1
        return reply
