# User histories in Redis or Valkey: for several servers, on several machines, that share them.
"""The store of user histories behind a Redis protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from dpr_infer.errors import MissingExtraError, QueryError
from dpr_infer.serve.users import Appended, Event, EventStoreError, check_text

try:
    from redis.asyncio import BlockingConnectionPool, Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import ExponentialBackoff
    from redis.exceptions import ConnectionError as RedisConnectionError
    from redis.exceptions import RedisError
    from redis.exceptions import TimeoutError as RedisTimeoutError
except ImportError as missing:
    raise MissingExtraError(
        f"user histories in Redis need redis-py; install dpr-infer[redis] (import failed: {missing})"
    ) from missing

__all__ = ["RedisEventStore"]

_TIMEOUT_SECONDS = 1.0  # of connecting, of an answer, and of waiting for a free connection
_TRIES_AGAIN = 2  # on a new connection: one that was open before the server went away is of no use
_MOST_CONNECTIONS = 32

# A user has two keys, in one hash slot. `order` is a sorted set of the events by timestamp; a member is its arrival
# (16 hex digits, so that it orders equal timestamps), the length of its id in bytes (4 hex digits), the id and the
# item. `ids` maps ids to nothing, and the empty field, which is no id, to the last arrival.
_APPEND = """
local order, ids, keep = KEYS[1], KEYS[2], tonumber(ARGV[1])
local stored = 0
for i = 2, #ARGV, 3 do
    local id, rest, timestamp = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    if redis.call('HSETNX', ids, id, '') == 1 then
        local arrival = redis.call('HINCRBY', ids, '', 1)
        redis.call('ZADD', order, timestamp, string.format('%016x', arrival) .. rest)
        stored = stored + 1
    end
end
local oldest = redis.call('ZRANGE', order, 0, -1 - keep)
for _, member in ipairs(oldest) do
    local length = tonumber(string.sub(member, 17, 20), 16)
    redis.call('HDEL', ids, string.sub(member, 21, 20 + length))
    redis.call('ZREM', order, member)
end
return stored
"""


class RedisEventStore:
    """See :class:`dpr_infer.serve.users.EventStore`.

    Events are taken in by a script, all or none. How durable an acknowledged event is, is the server's setting: with
    ``appendonly yes`` and ``appendfsync always`` it is on the disk, as with SQLite; with ``everysec`` up to a second of
    events is lost with the machine; without ``appendonly``, all since the last snapshot. ``maxmemory-policy`` must be
    ``noeviction``, or the server forgets users by itself. Deletion takes effect at once, but the server's append-only
    file holds what was deleted until it is rewritten.

    While the server is gone, calls fail within some seconds; when it is back, it is used again. A call whose answer was
    lost is sent again, and its events may then be counted as duplicates.

    Parameters
    ----------
    url : str
        As `open_event_store` takes it.
    max_history : int
        Newest events kept a user, >= 1.

    Raises
    ------
    QueryError
        If the URL cannot be read.
    """

    def __init__(self, url: str, *, max_history: int) -> None:
        self._where = _without_password(url)
        self._max_history = max_history
        try:
            pool = BlockingConnectionPool.from_url(
                url.replace("valkey", "redis", 1) if url.startswith("valkey") else url,
                max_connections=_MOST_CONNECTIONS,
                timeout=_TIMEOUT_SECONDS,
                socket_timeout=_TIMEOUT_SECONDS,
                socket_connect_timeout=_TIMEOUT_SECONDS,
                retry=Retry(ExponentialBackoff(cap=0.1, base=0.01), _TRIES_AGAIN),
                retry_on_error=[RedisConnectionError, RedisTimeoutError],
            )
        except ValueError as error:
            raise QueryError(f"users: {self._where} cannot be read ({error})") from None
        self._redis = Redis.from_pool(pool)
        self._append = self._redis.register_script(_APPEND)
        self._closed = False

    async def append(self, user: str, events: Sequence[Event]) -> Appended:
        """See :class:`~dpr_infer.serve.users.EventStore`."""
        self._check(user)
        arguments: list[str | bytes | float] = [self._max_history]
        for event in events:
            event_id = event.event_id.encode()
            rest = f"{len(event_id):04x}".encode() + event_id + event.item.encode()
            arguments += [event_id, rest, repr(float(event.timestamp))]
        if not events:
            return Appended(0, 0)
        stored = int(await self._tell(self._append(keys=_keys(user), args=arguments)))
        return Appended(stored, len(events) - stored)

    async def history(self, user: str, limit: int) -> list[str]:
        """See :class:`~dpr_infer.serve.users.EventStore`."""
        self._check(user)
        most = min(limit, self._max_history)
        if most < 1:
            return []
        order, _ = _keys(user)
        members: list[bytes] = await self._tell(self._redis.zrange(order, -most, -1))
        return [member[20 + int(member[16:20], 16) :].decode() for member in members]

    async def count(self, user: str) -> int:
        """See :class:`~dpr_infer.serve.users.EventStore`."""
        self._check(user)
        order, _ = _keys(user)
        return int(await self._tell(self._redis.zcard(order)))

    async def delete(self, user: str) -> None:
        """See :class:`~dpr_infer.serve.users.EventStore`."""
        self._check(user)
        await self._tell(self._redis.delete(*_keys(user)))

    async def check(self) -> None:
        """See :class:`~dpr_infer.serve.users.EventStore`."""
        self._check("anyone")
        await self._tell(self._redis.ping())

    async def close(self) -> None:
        """See :class:`~dpr_infer.serve.users.EventStore`."""
        self._closed = True
        await self._redis.aclose(close_connection_pool=True)

    def _check(self, user: str) -> None:
        check_text("user", user)
        if self._closed:
            raise EventStoreError("user histories: the store is closed")

    async def _tell(self, call: Any) -> Any:
        """Await a call and say what its failure means. redis-py's types do not tell its two clients apart."""
        try:
            return await call
        except (RedisError, OSError) as error:
            raise EventStoreError(f"user histories: {self._where} gives no answer ({error})") from error


def _keys(user: str) -> list[str]:
    """Of the order and of the ids. The braces hold what a cluster chooses the slot by; hex keeps braces out of it."""
    slot = user.encode().hex()
    return [f"dpr:user:{{{slot}}}:order", f"dpr:user:{{{slot}}}:ids"]


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
