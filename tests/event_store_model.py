# What a store of events must do, said by a dict; and a machine that does the same to both and compares.

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dpr_infer.serve.users import Appended, Event, EventStore

KEPT = 5  # so few that histories overflow often
USERS = ("ann", "bob", "d{a}n:\u2603")
IDS = ("1", "2", "3", "4", "5", "6", "7", "8", "e:\U0001f600", "9" * 200)


class EventStoreModel:
    """Every user's events by id."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._arrivals = 0
        self._users: dict[str, dict[str, tuple[float, int, str]]] = {}

    def append(self, user: str, events: list[Event]) -> Appended:
        known = self._users.setdefault(user, {})
        stored = 0
        for event in events:
            if event.event_id not in known:
                self._arrivals += 1
                known[event.event_id] = (event.timestamp, self._arrivals, event.item)
                stored += 1
        for event_id, _ in sorted(known.items(), key=lambda entry: entry[1])[: -self._kept]:
            del known[event_id]
        return Appended(stored, len(events) - stored)

    def history(self, user: str, limit: int) -> list[str]:
        items = [item for _, _, item in sorted(self._users.get(user, {}).values())]
        return items[len(items) - min(limit, len(items)) :]

    def count(self, user: str) -> int:
        return len(self._users.get(user, {}))

    def delete(self, user: str) -> None:
        self._users.pop(user, None)


EVENTS = st.builds(
    Event,
    event_id=st.sampled_from(IDS),
    item=st.sampled_from(["i1", "i2", "i-3", "\u00e9\n'\"", "\U0001f600" * 200]),
    timestamp=st.sampled_from([-1e300, -0.0, 0.0, 0.5, 1.7e9, 1.7e9 + 2**-20, 1e300]),
)


class EventStoreMachine(RuleBasedStateMachine):
    """Compares a store with the model, call by call.

    `open_store` opens the store, or opens it again.
    """

    def __init__(self, open_store: Callable[[], EventStore], empty: Callable[[], None]) -> None:
        super().__init__()
        empty()
        self._open = open_store
        self._runner = asyncio.Runner()
        self._store = self._runner.run(self._opened())
        self._model = EventStoreModel(KEPT)

    async def _opened(self) -> EventStore:
        return self._open()

    def _do(self, name: str, *arguments: Any) -> Any:
        return self._runner.run(getattr(self._store, name)(*arguments))

    @rule(user=st.sampled_from(USERS), events=st.lists(EVENTS, max_size=8))
    def append(self, user: str, events: list[Event]) -> None:
        assert self._do("append", user, events) == self._model.append(user, events)

    @rule(user=st.sampled_from(USERS))
    def delete(self, user: str) -> None:
        self._do("delete", user)
        self._model.delete(user)

    @rule(user=st.sampled_from(USERS), limit=st.integers(0, KEPT + 2))
    def history(self, user: str, limit: int) -> None:
        assert self._do("history", user, limit) == self._model.history(user, limit)

    @rule()
    def open_again(self) -> None:
        self._do("close")
        self._store = self._runner.run(self._opened())

    @invariant()
    def same(self) -> None:
        for user in USERS:
            assert self._do("count", user) == self._model.count(user)
            assert self._do("history", user, KEPT) == self._model.history(user, KEPT)

    def teardown(self) -> None:
        self._do("close")
        self._runner.close()
