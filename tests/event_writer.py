# A process that appends events to a store for ever, and says of each that it was acknowledged: there to be killed.

from __future__ import annotations

import asyncio
import os
import sys

from dpr_infer.serve.users import Event, open_event_store

TASKS = 8  # at once, so that a kill meets groups of several


async def write(url: str, first: int, last: int) -> None:
    store = open_event_store(url, max_history=10**9)
    assert store is not None
    numbers = iter(range(first, last))

    async def append() -> None:
        for number in numbers:
            await store.append(f"user {number % 7}", [Event(f"e{number}", f"i{number}", float(number))])
            os.write(1, b"%d\n" % number)

    async with asyncio.TaskGroup() as group:
        for _ in range(TASKS):
            group.create_task(append())
    await store.close()


if __name__ == "__main__":
    asyncio.run(write(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
