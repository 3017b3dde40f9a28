# Concurrent requests share native batches: the event loop hands queries over, one engine thread answers what is there.
# Which queries go together is batch_line.py's to say.

from __future__ import annotations

import asyncio
import logging
import math
from asyncio import AbstractEventLoop, CancelledError, Future
from collections.abc import Callable, Mapping, Sequence
from threading import Thread
from time import perf_counter
from typing import TypeVar

from dpr_infer.errors import DprError, EngineError
from dpr_infer.serve.batch_line import Answered, BatchLine, Call
from dpr_infer.serve.metrics import Metrics
from dpr_infer.serve.problems import ClientGone, Overloaded, Unavailable
from dpr_infer.serve.query import Query
from dpr_infer.serve.request_record import RequestRecord, Run, current_request
from dpr_infer.serve.served_model import OpenModel
from dpr_infer.types import Recommendation

T = TypeVar("T")

_log = logging.getLogger("dpr_infer.serve")

_READING = ("tokenise", "encode_prompt")  # steps that prompts alone take
_LONGEST_RETRY_S = 60

# A `submit` costs, beside the answer, on one core with uvloop: 40 us alone, most of it two switches of threads; 10 us
# each of 64 together. With asyncio's own loop 63 us and 15 us.


class Batcher:
    """Answers queries of concurrent requests in native batches, on a thread of its own.

    An idle engine starts at once. What arrives while it is busy forms the next batch; when it is done and finds less
    than a full one, it may wait a little for more. All methods are for the event loop of the first `submit`.

    Parameters
    ----------
    max_batch : int
        Most queries of a native batch, >= 1.
    wait_ms : float
        Longest wait for company, in milliseconds; never for a request that finds the engine idle.
    queue_limit : int
        Queries that may wait.
    metrics : Metrics
        Where queue times, batch sizes and steps are counted.
    patience_s : float
        Longest time in line, in seconds. Who would wait longer is refused at once, as far as can be told; who has
        waited longer is refused, and costs the engine nothing.
    """

    def __init__(
        self,
        *,
        max_batch: int,
        wait_ms: float,
        queue_limit: int,
        metrics: Metrics,
        patience_s: float = math.inf,
    ) -> None:
        self._line = BatchLine(max_batch=max_batch, wait_s=wait_ms / 1e3, patience_s=patience_s)
        self._queue_limit = queue_limit
        self._patience_s = patience_s
        self._metrics = metrics
        self._thread: Thread | None = None
        self._loop: AbstractEventLoop | None = None
        self._ended: Future[None] | None = None
        self._closing = False
        metrics.watch_queue(lambda: self._line.waiting)

    async def submit(self, queries: Sequence[Query]) -> list[Recommendation]:
        """Answer queries, all of them or none.

        Parameters
        ----------
        queries : sequence of Query
            The queries.

        Returns
        -------
        list of Recommendation
            One a query, in order, with the times of its batch.

        Raises
        ------
        DprError
            The first error of a query, as `Recommender.query` raises it.
        Overloaded, Unavailable
            As `submit_each`.
        """
        answers: list[Recommendation] = []
        for answer in await self.submit_each(queries):
            if isinstance(answer, DprError):
                raise answer
            answers.append(answer)
        return answers

    async def submit_each(self, queries: Sequence[Query]) -> list[Answered]:
        """Answer queries, telling errors apart. Whoever is cancelled meanwhile gives up what has not begun.

        Parameters
        ----------
        queries : sequence of Query
            The queries. More than a batch takes go through several, and others get in between.

        Returns
        -------
        list of Recommendation or DprError
            One a query, in order.

        Raises
        ------
        Overloaded
            If more queries than the limit would wait, or these would wait for too long, or have. A call that finds
            nobody waiting is always taken.
        Unavailable
            If the batcher is closing.
        ClientGone
            If nobody waits for the answers any more.
        """
        if not queries:
            return []
        if self._closing:
            raise Unavailable("the server is shutting down", "draining")
        loop = self._loop or self._start()
        call = Call(queries, loop.create_future(), perf_counter())
        self._admit(call)
        record = current_request.get()
        if record is None:
            self._line.put(call)
            return await call.future
        record.queries = [*record.queries, *queries]
        answers = await self._wait_as(record, call)
        if call.run is not None:
            record.runs.append(call.run)
        return answers

    async def _wait_as(self, record: RequestRecord, call: Call) -> list[Answered]:
        """Put a call in line and wait for its answers, as long as the request's client does."""
        try:
            if not record.abandoned:
                record.waits_for = call.future
                self._line.put(call)
                return await call.future
        except CancelledError:
            if not record.abandoned:
                raise
        finally:
            record.waits_for = None
        self._metrics.abandoned.inc()
        raise ClientGone

    def _admit(self, call: Call) -> None:
        waiting = self._line.waiting
        if not waiting:
            return
        new = self._line.new_waiting
        if waiting + len(call.queries) > self._queue_limit:
            refused = Overloaded(f"{waiting} queries wait, of {self._queue_limit} that may; try again")
        elif (wait_s := self._line.expected_wait_s(call)) > self._patience_s:
            what = "prompts that were not asked before" if call.new else "queries"
            refused = Overloaded(
                f"so many {what} wait that this would take {wait_s:.1f} s, of {self._patience_s:g} s that a query "
                "may wait; try again later",
                "new_prompts" if call.new else "queue_full",
                min(_LONGEST_RETRY_S, math.ceil(wait_s)),
            )
        elif call.new and new and new + call.new > self._queue_limit // 2:
            # The other half is kept for those whose prompts are known: they are answered many times as fast.
            refused = Overloaded(
                f"{new} prompts that were not asked before wait, of {self._queue_limit // 2} that may; try again",
                "new_prompts",
            )
        else:
            return
        self._metrics.shed(refused.reason)
        raise refused

    async def close(self) -> None:
        """Refuse new queries, answer those that wait, and end the thread."""
        if not self._closing:
            self._closing = True
            self._line.end()
        if self._ended is not None:
            await asyncio.shield(self._ended)

    def _start(self) -> AbstractEventLoop:
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self._thread = Thread(
            target=self._run, args=(self._loop, self._ended), name="dpr-engine", daemon=True
        )
        self._thread.start()
        return self._loop

    def _run(self, loop: AbstractEventLoop, ended: Future[None]) -> None:
        while any(taken := self._line.take()):
            batch, late = taken
            if late:
                self._give_up(loop, late)
            if not batch:
                continue
            finished = self._answer(batch)
            self._line.idle()  # whoever is told may ask again before the line is looked at
            # One wake-up a batch: each costs a system call and a switch of threads.
            _tell(loop, _hand_over, finished)
        _tell(loop, ended.set_result, None)

    def _give_up(self, loop: AbstractEventLoop, late: list[Call]) -> None:
        for _ in late:
            self._metrics.shed("waited")
        _tell(loop, _refuse, (late, self._patience_s))

    def _answer(self, batch: list[tuple[Call, int]]) -> list[Call]:
        """Answer a batch; returns the calls of which nothing is missing any more."""
        now = perf_counter()
        by_model: dict[int, tuple[OpenModel, list[tuple[Call, int]]]] = {}
        for call, place in batch:
            if call.run is None:
                call.run = Run(call.since, now)
                self._metrics.waited(now - call.since)
            model = call.queries[place].model
            by_model.setdefault(id(model), (model, []))[1].append((call, place))
        return [call for model, places in by_model.values() for call in self._answer_together(model, places)]

    def _answer_together(self, model: OpenModel, places: list[tuple[Call, int]]) -> list[Call]:
        queries = [call.queries[place] for call, place in places]
        began = perf_counter()
        answers = self._ask(model, queries)
        timings, ended = _timings(answers), perf_counter()
        new = self._count(queries, answers, timings)
        reading_s = sum(timings.get(step, 0.0) for step in _READING) / 1e3
        self._line.pace.learn(ended - began, len(queries), new, reading_s)
        finished = []
        for (call, place), answer in zip(places, answers, strict=True):
            assert call.run is not None
            call.run.batch_ended(ended, len(queries), timings)
            if call.set_answer(place, answer):
                finished.append(call)
        return finished

    def _ask(self, model: OpenModel, queries: list[Query]) -> list[Answered]:
        try:
            return model.recommender.query_each(queries, timings=True)
        except Exception as error:  # a fault of ours must not end the thread that everybody waits for
            _log.exception("a batch of %d queries failed", len(queries))
            failure = EngineError(f"the batch failed: {type(error).__name__}")
            return [failure] * len(queries)

    def _count(self, queries: list[Query], answers: list[Answered], timings: Mapping[str, float]) -> int:
        """Count a batch, and return how many of its prompts had to be read."""
        hits = misses = 0
        for query, answer in zip(queries, answers, strict=True):
            if not isinstance(answer, DprError) and _says_something(query):
                hits += answer.prompt_cached
                misses += not answer.prompt_cached
        self._metrics.batch_done(len(queries), timings, hits, misses)
        return misses


def _timings(answers: list[Answered]) -> Mapping[str, float]:
    """Return the times of a batch, which every answer has; none of a batch without an answer."""
    return next((a.timings_ms or {} for a in answers if not isinstance(a, DprError)), {})


def _says_something(query: Query) -> bool:
    prompt = query.prompt
    return bool(prompt.strip() if isinstance(prompt, str) else prompt)


def _hand_over(calls: list[Call]) -> None:
    for call in calls:
        if not call.future.done():
            call.future.set_result(call.answers())


def _refuse(late: tuple[list[Call], float]) -> None:
    calls, patience_s = late
    for call in calls:
        if not call.future.done():
            detail = (
                f"this waited for longer than the {patience_s:g} s that a query may wait; try again later"
            )
            call.future.set_exception(Overloaded(detail, "waited"))
            call.future.exception()  # seen: who waits for it may be cancelled before hearing of it


def _tell(loop: AbstractEventLoop, what: Callable[[T], object], argument: T) -> None:
    try:
        loop.call_soon_threadsafe(what, argument)
    except RuntimeError:  # the loop was closed, and with it everybody who waited
        _log.debug("answers came after the end of the event loop")
