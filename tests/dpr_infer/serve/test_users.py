# What every store of user histories must do, whichever keeps it.

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from dpr_infer.errors import QueryError, QueryTypeError
from dpr_infer.serve.users import (
    MOST_CHARACTERS,
    Appended,
    Event,
    EventStore,
    EventStoreError,
    open_event_store,
)
from event_store_model import KEPT, EventStoreMachine
from redis_server import COMMAND, PACKAGE, redis_server

Open = Callable[[], EventStore]


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with redis_server() as server:
        yield server.url


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.debian(PACKAGE, COMMAND))])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "redis":
        return str(request.getfixturevalue("redis_url"))
    return str(tmp_path / "users.sqlite")


@pytest.fixture
def empty(url: str) -> Callable[[], None]:
    """Forgets everything that is stored."""

    def forget() -> None:
        if not url.startswith("unix"):
            Path(url).unlink(missing_ok=True)
            return
        import redis

        with redis.Redis.from_url(url) as client:
            client.flushall()

    forget()
    return forget


@pytest.fixture
def open_store(url: str, empty: Callable[[], None]) -> Open:
    def opened() -> EventStore:
        store = open_event_store(url, max_history=KEPT)
        assert store is not None
        return store

    return opened


def event(number: int, timestamp: float | None = None) -> Event:
    return Event(f"e{number}", f"i{number}", float(number) if timestamp is None else timestamp)


def test_it_does_what_the_model_does(open_store: Open, empty: Callable[[], None]):
    run_state_machine_as_test(
        lambda: EventStoreMachine(open_store, empty),
        settings=settings(max_examples=15, stateful_step_count=20, deadline=None),
    )


def test_writers_at_once_lose_nothing_and_count_every_id_once(open_store: Open):
    async def scenario() -> None:
        store = open_store()
        users = [f"user {n}" for n in range(40)]
        twice = [store.append(user, [event(n) for n in range(KEPT)]) for user in users for _ in range(2)]
        answers = await asyncio.gather(*twice)
        assert sum(answer.stored for answer in answers) == KEPT * len(users)
        assert sum(answer.duplicates for answer in answers) == KEPT * len(users)
        for user in users:
            assert await store.history(user, KEPT) == [f"i{n}" for n in range(KEPT)]
        await store.close()

    asyncio.run(scenario())


def test_what_one_store_appends_another_reads_and_deletes(open_store: Open):
    async def scenario() -> None:
        first, second = open_store(), open_store()
        assert await first.append("ann", [event(1)]) == Appended(1, 0)
        assert await second.append("ann", [event(1), event(2)]) == Appended(1, 1)
        assert await first.history("ann", 9) == ["i1", "i2"]
        await second.delete("ann")
        assert await first.count("ann") == 0
        assert await first.append("ann", [event(1)]) == Appended(1, 0)
        await first.close()
        await second.close()

    asyncio.run(scenario())


def test_an_event_older_than_all_that_is_kept_is_forgotten_and_taken_in_again(open_store: Open):
    async def scenario() -> None:
        store = open_store()
        await store.append("ann", [event(n) for n in range(10, 10 + KEPT)])
        for _ in range(2):
            assert await store.append("ann", [event(1)]) == Appended(1, 0)
            assert await store.history("ann", KEPT) == [f"i{n}" for n in range(10, 10 + KEPT)]
        await store.close()

    asyncio.run(scenario())


def test_a_cancelled_append_leaves_the_store_usable(open_store: Open):
    async def scenario() -> None:
        store = open_store()
        tasks = [asyncio.create_task(store.append(f"user {n}", [event(n)])) for n in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [result for result in results[1::2] if result != Appended(1, 0)] == []
        assert await store.append("user 0", [event(0)]) in (Appended(1, 0), Appended(0, 1))
        assert await store.history("user 0", 9) == ["i0"]
        await store.close()

    asyncio.run(scenario())


def test_a_closed_store_says_so(open_store: Open):
    async def scenario() -> None:
        store = open_store()
        await store.check()
        await store.close()
        await store.close()
        calls = (
            store.append("ann", [event(1)]),
            store.history("ann", 1),
            store.count("ann"),
            store.delete("ann"),
            store.check(),
        )
        for call in calls:
            with pytest.raises(EventStoreError, match="closed"):
                await call

    asyncio.run(scenario())


@pytest.mark.parametrize("user", ["", "x" * (MOST_CHARACTERS + 1), "a\0b", "\ud800"])
def test_users_that_are_none(open_store: Open, user: str):
    async def scenario() -> None:
        store = open_store()
        for call in (store.append(user, [event(1)]), store.history(user, 1), store.count(user)):
            with pytest.raises(QueryError, match=r"^user must"):
                await call
        with pytest.raises(QueryError, match=r"^user must"):
            await store.delete(user)
        await store.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("text", ["", "x" * (MOST_CHARACTERS + 1), "a\0b", "\udfff"])
def test_events_with_texts_of_no_use(text: str):
    with pytest.raises(QueryError, match=r"^event_id must"):
        Event(text, "i1", 0.0)
    with pytest.raises(QueryError, match=r"^item must"):
        Event("e1", text, 0.0)


@pytest.mark.parametrize("timestamp", [float("nan"), float("inf"), -float("inf"), 10**400, "now", None])
def test_events_without_a_time(timestamp: object):
    with pytest.raises(QueryError, match=r"^timestamp must be finite"):
        Event("e1", "i1", timestamp)  # type: ignore[arg-type]


def test_an_event_id_that_is_no_text():
    with pytest.raises(QueryTypeError, match="event_id must be a str; got int"):
        Event(7, "i1", 0.0)  # type: ignore[arg-type]


def test_settings_of_no_use(tmp_path: Path):
    assert open_event_store("none") is None
    with pytest.raises(QueryError, match="got mysql://"):
        open_event_store("mysql://localhost/users")
    with pytest.raises(QueryError, match="max_history must be at least 1; got 0"):
        open_event_store(str(tmp_path / "users.sqlite"), max_history=0)
