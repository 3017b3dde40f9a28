# Concurrent requests in native batches: who goes with whom, what each gets, and what happens to those who give up.

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from threading import Event, current_thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tiny_bundle
from dpr_infer import DprError, EngineError, QueryError, Recommendation, Recommender, UnknownItemError
from dpr_infer.serve.batcher import Batcher
from dpr_infer.serve.metrics import Metrics
from dpr_infer.serve.problems import ClientGone, Overloaded, Unavailable
from dpr_infer.serve.query import Query
from dpr_infer.serve.request_record import RequestRecord, current_request

IDS = tiny_bundle.item_ids(40)
MINUTE_MS = 60_000.0


class Engine:
    """A recommender that answers when it is let, and remembers what it was asked."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.threads: set[str] = set()
        self.may_answer, self.is_asked = Event(), Event()
        self.may_answer.set()
        self.new_prompts: set[Any] = set()
        self.failure: Exception | None = None
        self.before_answer: Callable[[list[Any]], None] = lambda prompts: None

    def query_each(self, queries: Sequence[Query], *, timings: bool) -> list[Recommendation | DprError]:
        assert timings
        self.batches.append([query.prompt for query in queries])
        self.threads.add(current_thread().name)
        self.is_asked.set()
        assert self.may_answer.wait(60)
        self.before_answer(self.batches[-1])
        if self.failure is not None:
            raise self.failure
        return [_answer(query) for query in queries]

    def knows_prompt(self, prompt: Any) -> bool:
        if prompt == "strange":
            raise TypeError("no prompt")
        return prompt not in self.new_prompts

    @property
    def sizes(self) -> list[int]:
        return [len(batch) for batch in self.batches]


def _answer(query: Query) -> Recommendation | DprError:
    if query.prompt == "wrong":
        return QueryError("wrong")
    return Recommendation(
        items=[str(query.prompt)],
        titles=[""],
        tags=[[]],
        rows=np.zeros(1, np.int64),
        scores=np.zeros(1, np.float32),
        wishes=(),
        gates={},
        prompt_truncated=False,
        history_truncated=False,
        history_unread=0,
        prompt_cached=query.prompt == "kept",
        timings_ms={"score": 1.0, "fuse": 0.0, "total": 2.0},
    )


class Server:
    """A batcher, its engine and its metrics, within an event loop."""

    def __init__(self, **options: Any) -> None:
        self.engine = Engine()
        self.metrics = Metrics([])
        options = {"max_batch": 4, "wait_ms": 0.0, "queue_limit": 100} | options
        self.batcher = Batcher(metrics=self.metrics, **options)
        self.model: Any = SimpleNamespace(recommender=self.engine)

    def submit(self, *prompts: Any) -> asyncio.Task[list[Recommendation]]:
        queries = [Query(model=self.model, prompt=prompt) for prompt in prompts]
        return asyncio.get_running_loop().create_task(self.batcher.submit(queries))

    async def block(self) -> asyncio.Task[list[Recommendation]]:
        """Keep the engine busy until it is let go on."""
        self.engine.may_answer.clear()
        self.engine.is_asked.clear()
        busy = self.submit("first")
        await asyncio.to_thread(self.engine.is_asked.wait, 60)
        return busy

    async def submit_waiting(self, *prompts: Any) -> asyncio.Task[list[Recommendation]]:
        """Submit while the engine is busy; over when the queries are in line."""
        task = self.submit(*prompts)
        await asyncio.sleep(0)
        return task

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"dpr_{name}", labels)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 60))


def said(answers: Sequence[Recommendation]) -> list[str]:
    return [answer.items[0] for answer in answers]


def test_an_idle_engine_starts_at_once():
    async def test() -> None:
        server = Server(wait_ms=MINUTE_MS)
        for prompt in ("a", "b", "c"):
            assert said(await server.submit(prompt)) == [prompt]
        assert server.engine.batches == [["a"], ["b"], ["c"]]
        assert server.engine.threads == {"dpr-engine"}
        await server.batcher.close()

    run(test())


def test_what_arrives_meanwhile_is_the_next_batch():
    async def test() -> None:
        server = Server()
        busy = await server.block()
        waiting = [await server.submit_waiting(prompt) for prompt in "abcdef"]
        assert server.value("queue_length") == 6
        server.engine.may_answer.set()
        assert [said(await task) for task in (busy, *waiting)] == [["first"], *map(list, "abcdef")]
        assert server.engine.batches == [["first"], list("abcd"), list("ef")]
        assert server.value("queue_length") == 0
        await server.batcher.close()

    run(test())


def test_a_busy_engine_waits_for_company_until_the_batch_is_full():
    async def test() -> None:
        server = Server(wait_ms=MINUTE_MS)
        busy = await server.block()
        early = await server.submit_waiting("a")
        server.engine.may_answer.set()
        await busy
        late = server.submit("b", "c", "d")
        assert said(await early) == ["a"]
        assert said(await late) == ["b", "c", "d"]
        assert server.engine.sizes == [1, 4]
        await server.batcher.close()

    run(test())


def test_company_that_does_not_come_is_not_waited_for_for_ever():
    async def test() -> None:
        server = Server(wait_ms=1.0)
        busy = await server.block()
        early = await server.submit_waiting("a")
        server.engine.may_answer.set()
        await busy
        assert said(await early) == ["a"]
        await server.batcher.close()

    run(test())


def test_a_long_call_lets_others_get_in_between():
    async def test() -> None:
        server = Server()
        busy = await server.block()
        long = await server.submit_waiting(*range(9))
        short = await server.submit_waiting("a")
        server.engine.may_answer.set()
        assert said(await long) == [str(n) for n in range(9)]
        assert said(await short) == ["a"]
        await busy
        assert server.engine.batches == [["first"], [0, 1, 2, 3], ["a", 4, 5, 6], [7, 8]]
        await server.batcher.close()

    run(test())


def test_new_prompts_do_not_hold_up_known_ones():
    async def test() -> None:
        server = Server(max_batch=16)
        server.engine.new_prompts = set("ABCDEF")
        busy = await server.block()
        waiting = [await server.submit_waiting(prompt) for prompt in "ABCDEFab"]
        several = await server.submit_waiting("c", "F", "d")
        server.engine.may_answer.set()
        await asyncio.gather(busy, *waiting, several)
        assert said(await several) == ["c", "F", "d"]
        assert server.engine.batches == [["first"], list("ABCDabc"), list("EFFd")]
        await server.batcher.close()

    run(test())


def test_who_gives_up_is_not_run():
    async def test() -> None:
        server = Server()
        busy = await server.block()
        waiting = [await server.submit_waiting(prompt) for prompt in "abc"]
        long = await server.submit_waiting("x", "y")
        for task in (waiting[1], long):
            task.cancel()
        await asyncio.sleep(0)
        server.engine.may_answer.set()
        results = await asyncio.gather(busy, *waiting, long, return_exceptions=True)
        assert server.engine.batches == [["first"], ["a", "c"]]
        assert [isinstance(result, asyncio.CancelledError) for result in results] == [0, 0, 1, 0, 1]
        assert server.value("queue_length") == 0
        await server.batcher.close()

    run(test())


def test_who_gives_up_while_it_runs_disturbs_nobody():
    async def test() -> None:
        server, loop = Server(), asyncio.get_running_loop()
        busy = await server.block()
        gone, other = await server.submit_waiting("a"), await server.submit_waiting("b")

        def give_up(prompts: list[Any]) -> None:
            if prompts == ["a", "b"]:
                given_up = Event()
                loop.call_soon_threadsafe(lambda: (gone.cancel(), given_up.set()))
                assert given_up.wait(60)

        server.engine.before_answer = give_up
        server.engine.may_answer.set()
        assert said(await other) == ["b"]
        await asyncio.wait([busy, gone])
        assert gone.cancelled()
        await server.batcher.close()

    run(test())


def test_more_than_may_wait_are_refused():
    async def test() -> None:
        server = Server(queue_limit=3)
        busy = await server.block()
        long = await server.submit_waiting(*range(5))  # nobody waited before it
        with pytest.raises(Overloaded, match="5 queries wait, of 3 that may"):
            await server.submit("a")
        shed = server.metrics.registry.get_sample_value("dpr_shed_total", {"reason": "queue_full"})
        assert shed == 1
        server.engine.may_answer.set()
        await asyncio.gather(busy, long)
        assert said(await server.submit("b")) == ["b"]
        await server.batcher.close()

    run(test())


def test_who_waited_too_long_is_refused_and_costs_nothing():
    async def test() -> None:
        server = Server(patience_s=0.05)
        busy = await server.block()
        waiting = [await server.submit_waiting(prompt) for prompt in "ab"]
        await asyncio.sleep(0.1)
        late = await server.submit_waiting("c")
        server.engine.may_answer.set()
        for refused in waiting:
            with pytest.raises(Overloaded, match=r"longer than the 0\.05 s that a query may wait") as caught:
                await refused
            assert caught.value.headers["Retry-After"] == "1"
        assert said(await late) == ["c"]
        await busy
        assert server.engine.batches == [["first"], ["c"]]
        assert server.value("shed_total", reason="waited") == 2
        assert server.value("queue_length") == 0
        await server.batcher.close()

    run(test())


def test_a_flood_of_new_prompts_keeps_nobody_else_out():
    async def test() -> None:
        server = Server(queue_limit=6, patience_s=2.5)
        server.engine.new_prompts = set("ABCDEF")
        busy = await server.block()
        server.batcher._line.pace.learn(1.0, 1, 1, 1.0)
        waiting = [await server.submit_waiting(prompt) for prompt in "ABC"]
        with pytest.raises(Overloaded, match=r"would take 3\.0 s, of 2\.5 s") as caught:
            await server.submit("D")
        assert caught.value.kind == "new-prompts"
        assert caught.value.headers["Retry-After"] == "3"
        assert server.value("shed_total", reason="new_prompts") == 1
        known = [await server.submit_waiting(prompt) for prompt in "abc"]
        server.engine.may_answer.set()
        await asyncio.gather(busy, *waiting, *known)
        assert server.engine.batches == [["first"], ["A", "a", "b", "c"], ["B"], ["C"]]
        await server.batcher.close()

    run(test())


def test_new_prompts_take_half_of_the_line_at_most():
    async def test() -> None:
        server = Server(queue_limit=6)
        server.engine.new_prompts = set("ABCD")
        busy = await server.block()
        waiting = [await server.submit_waiting(prompt) for prompt in "ABC"]
        with pytest.raises(
            Overloaded, match="3 prompts that were not asked before wait, of 3 that may"
        ) as caught:
            await server.submit("D")
        assert caught.value.kind == "new-prompts"
        assert server.value("shed_total", reason="new_prompts") == 1
        known = [await server.submit_waiting(prompt) for prompt in "abc"]
        with pytest.raises(Overloaded, match="6 queries wait, of 6 that may"):
            await server.submit("d")
        server.engine.may_answer.set()
        await asyncio.gather(busy, *waiting, *known)
        await server.batcher.close()

    run(test())


def test_a_line_that_takes_too_long_is_not_made_longer():
    async def test() -> None:
        server = Server(patience_s=2.5)
        busy = await server.block()
        server.batcher._line.pace.learn(1.0, 1, 0, 0.0)
        waiting = [await server.submit_waiting(prompt) for prompt in "abc"]
        with pytest.raises(Overloaded, match="so many queries wait") as caught:
            await server.submit("d")
        assert (caught.value.kind, caught.value.headers["Retry-After"]) == ("queue-full", "3")
        server.engine.may_answer.set()
        await asyncio.gather(busy, *waiting)
        await server.batcher.close()

    run(test())


def test_whose_client_left_is_not_run():
    async def test() -> None:
        server = Server()
        busy = await server.block()
        waiting = []
        for number in range(3):
            record = RequestRecord(f"r{number}")
            current_request.set(record)
            waiting.append((record, await server.submit_waiting(str(number))))
        waiting[1][0].client_left()
        with pytest.raises(ClientGone):
            await waiting[1][1]
        left = RequestRecord("left")
        left.client_left()
        current_request.set(left)
        with pytest.raises(ClientGone):
            await server.submit("never in line")
        waiting[2][1].cancel()  # for another reason
        server.engine.may_answer.set()
        with pytest.raises(asyncio.CancelledError):
            await waiting[2][1]
        assert said(await waiting[0][1]) == ["0"]
        waiting[0][0].client_left()  # too late to matter
        await busy
        assert server.engine.batches == [["first"], ["0"]]
        assert server.value("abandoned_total") == 2
        await server.batcher.close()

    run(test())


def test_errors_of_a_query_concern_it_alone():
    async def test() -> None:
        server = Server()
        busy = await server.block()
        waiting = [await server.submit_waiting(*prompts) for prompts in (["a"], ["b", "wrong"], ["c"])]
        server.engine.may_answer.set()
        results = await asyncio.gather(busy, *waiting, return_exceptions=True)
        assert isinstance(results[2], QueryError)
        assert [said(results[i]) for i in (1, 3)] == [["a"], ["c"]]
        queries = [Query(model=server.model, prompt=prompt) for prompt in ("a", "wrong", "strange")]
        each = await server.batcher.submit_each(queries)
        assert [type(answer).__name__ for answer in each] == [
            "Recommendation",
            "QueryError",
            "Recommendation",
        ]
        assert await server.batcher.submit([]) == []
        await server.batcher.close()

    run(test())


def test_a_fault_of_the_engine_ends_no_thread(caplog):
    async def test() -> None:
        server = Server()
        server.engine.failure = ZeroDivisionError("secret prompt")
        with caplog.at_level(logging.ERROR), pytest.raises(EngineError, match=r"failed: ZeroDivisionError$"):
            await server.submit("a")
        server.engine.failure = None
        assert said(await server.submit("b")) == ["b"]
        assert "a batch of 1 queries failed" in caplog.text
        await server.batcher.close()

    run(test())


def test_a_batch_of_two_models_asks_each_its_own():
    async def test() -> None:
        server = Server()
        busy = await server.block()
        old = await server.submit_waiting("a")
        newer = Engine()
        server.model = SimpleNamespace(recommender=newer)
        new = await server.submit_waiting("b")
        server.engine.may_answer.set()
        assert [said(await task) for task in (busy, old, new)] == [["first"], ["a"], ["b"]]
        assert (server.engine.batches, newer.batches) == ([["first"], ["a"]], [["b"]])
        await server.batcher.close()

    run(test())


def test_closing_answers_who_waits_and_refuses_who_comes():
    async def test() -> None:
        server = Server(wait_ms=MINUTE_MS)
        busy = await server.block()
        waiting = await server.submit_waiting(*range(6))
        closing = [asyncio.create_task(server.batcher.close()) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable) as caught:
            await server.submit("late")
        assert caught.value.reason == "draining"
        server.engine.may_answer.set()
        await asyncio.gather(busy, *closing)
        assert said(await waiting) == [str(n) for n in range(6)]
        await server.batcher.close()

    run(test())


def test_closing_what_never_began():
    async def test() -> None:
        await Server().batcher.close()

    run(test())


def test_an_event_loop_that_ended_harms_nothing(caplog):
    server: list[Server] = []

    async def test() -> None:
        server.append(Server())
        (await server[0].block()).cancel()

    with caplog.at_level(logging.DEBUG, "dpr_infer.serve"):
        run(test())
        batcher = server[0].batcher
        batcher._line.end()
        server[0].engine.may_answer.set()
        assert batcher._thread is not None
        batcher._thread.join(60)
        assert not batcher._thread.is_alive()
    assert "after the end of the event loop" in caplog.text


def test_the_event_loop_is_woken_once_a_batch(monkeypatch):
    async def test() -> None:
        server = Server(max_batch=8)
        loop, wakes = asyncio.get_running_loop(), []
        wake = loop.call_soon_threadsafe
        monkeypatch.setattr(loop, "call_soon_threadsafe", lambda *what: wakes.append(what) or wake(*what))
        busy = await server.block()
        wakes.clear()
        waiting = [await server.submit_waiting(str(n)) for n in range(8)]
        server.engine.may_answer.set()
        await asyncio.gather(busy, *waiting)
        assert len(wakes) == 2
        await server.batcher.close()

    run(test())


def test_what_is_counted():
    async def test() -> None:
        server = Server()
        busy = await server.block()
        waiting = await server.submit_waiting("kept", "new", None, "  ")
        server.engine.may_answer.set()
        record = RequestRecord("r")
        current_request.set(record)
        await asyncio.gather(busy, waiting)
        await server.batcher.submit([Query(model=server.model, prompt="kept")] * 5)
        assert server.value("batch_size_count") == 4
        assert server.value("batch_size_sum") == 10
        assert server.value("queue_seconds_count") == 3
        assert server.value("prompt_cache_hits_total") == 6
        assert server.value("prompt_cache_misses_total") == 2
        assert server.value("step_seconds_count", step="score") == 4
        assert server.value("step_seconds_sum", step="total") == pytest.approx(0.008)
        assert server.value("step_seconds_count", step="fuse") == 0
        (answered,) = record.runs
        assert answered.batch == 4
        assert answered.arrived <= answered.began <= answered.ended
        assert len(record.queries) == 5
        await server.batcher.close()

    run(test())


def test_real_queries_of_different_options(recommender: Recommender):
    async def test() -> None:
        model: Any = SimpleNamespace(recommender=recommender)
        batcher = Batcher(max_batch=8, wait_ms=1.0, queue_limit=1000, metrics=Metrics([]))
        prompts = [None, "comedy", "no war", ["drama", {"War": "refuse"}]]
        options = [
            {"history": IDS[n : n + n % 4], "prompt": prompts[n % 4], "k": 1 + n % 12, "strength": n % 3 / 2}
            for n in range(60)
        ]
        tasks = [asyncio.create_task(batcher.submit([Query(model=model, **o)])) for o in options]
        wrong = asyncio.create_task(batcher.submit([Query(model=model, history=["nobody"])]))
        for task, asked in zip(tasks, options, strict=True):
            (got,), want = await task, recommender.query(**asked)
            np.testing.assert_allclose(got.scores, want.scores, rtol=1e-5, atol=1e-6)
            assert got.wishes == want.wishes
        with pytest.raises(UnknownItemError):
            await wrong
        await batcher.close()

    run(test())
