# Redis or Valkey behind user histories: gone and back, killed, full, and what it is told.

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from dpr_infer.errors import QueryError
from dpr_infer.serve.users import Appended, Event, EventStoreError
from dpr_infer.serve.users_redis import RedisEventStore
from redis_server import COMMAND, PACKAGE, RedisServer, redis_server

needs_server = pytest.mark.debian(PACKAGE, COMMAND)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis_server() as started:
        yield started


@needs_server
def test_it_is_gone_and_comes_back(server: RedisServer):
    async def scenario() -> None:
        store = RedisEventStore(server.url, max_history=9)
        await asyncio.gather(*(store.append("ann", [Event(str(n), f"i{n}", n)]) for n in range(9)))
        server.kill()
        for call in (store.append("ann", [Event("x", "ix", 99.0)]), store.history("ann", 9), store.check()):
            with pytest.raises(EventStoreError, match=r"server\.sock gives no answer"):
                await call
        server.start()
        # Every connection that was open before is dead, and so is the script: all of that mends itself.
        histories = await asyncio.gather(*(store.history("ann", 9) for _ in range(9)))
        assert histories == [[f"i{n}" for n in range(9)]] * 9
        assert await store.append("ann", [Event("1", "i1", 1.0), Event("x", "ix", 99.0)]) == Appended(1, 1)
        await store.close()

    asyncio.run(scenario())


@needs_server
def test_a_server_that_is_full_refuses_and_keeps_what_it_has(server: RedisServer):
    import redis

    async def scenario() -> None:
        store = RedisEventStore(server.url, max_history=9)
        await store.append("ann", [Event("1", "i1", 1.0)])
        with redis.Redis.from_url(server.url) as client:
            client.config_set("maxmemory", "1")
            with pytest.raises(EventStoreError, match="command not allowed when used memory"):
                await store.append("ann", [Event("2", "i2", 2.0), Event("3", "i3", 3.0)])
            assert await store.history("ann", 9) == ["i1"]
            client.config_set("maxmemory", "0")
        assert await store.append("ann", [Event("2", "i2", 2.0)]) == Appended(1, 0)
        await store.close()

    asyncio.run(scenario())


@needs_server
def test_deletion_leaves_no_key(server: RedisServer):
    import redis

    async def scenario() -> None:
        store = RedisEventStore(server.url, max_history=2)
        await store.append("ann", [Event(str(n), f"i{n}", n) for n in range(9)])
        with redis.Redis.from_url(server.url) as client:
            assert client.dbsize() == 2
            assert sorted(map(client.type, client.keys())) == [b"hash", b"zset"]
            await store.delete("ann")
            assert client.dbsize() == 0
        await store.close()

    asyncio.run(scenario())


def test_a_server_that_never_was_is_named_without_its_password():
    async def scenario() -> None:
        store = RedisEventStore("valkey://user:secret@127.0.0.1:1/3", max_history=9)
        with pytest.raises(EventStoreError) as caught:
            await store.check()
        assert str(caught.value).startswith("user histories: valkey://127.0.0.1:1/3 gives no answer")
        assert "secret" not in str(caught.value)
        await store.close()

    asyncio.run(scenario())


def test_a_url_that_cannot_be_read():
    with pytest.raises(QueryError, match=r"users: redis://127\.0\.0\.1:port/0 cannot be read"):
        RedisEventStore("redis://:secret@127.0.0.1:port/0", max_history=9)
