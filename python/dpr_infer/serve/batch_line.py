# Queries in line for the engine, and which of them go together. Calls come in from the event loop; everything else is
# the engine thread's.

from __future__ import annotations

from asyncio import Future
from collections import deque
from collections.abc import Sequence
from math import inf
from queue import Empty, SimpleQueue
from time import perf_counter

from dpr_infer.errors import DprError
from dpr_infer.serve.pace import Pace
from dpr_infer.serve.query import Query
from dpr_infer.serve.request_record import Run
from dpr_infer.types import Recommendation

Answered = Recommendation | DprError


class Call:
    """The queries of one request.

    Parameters
    ----------
    queries : sequence of Query
        The queries, at least one.
    future : Future
        Of the event loop; gets the answers. When it is done already, nobody waits for them any more.
    since : float
        When it came, by `time.perf_counter`, in seconds.

    Attributes
    ----------
    new : int
        How many of its queries had prompts that nobody had read when it came.
    """

    __slots__ = ("_answers", "_open", "future", "new", "next", "queries", "run", "since")

    def __init__(self, queries: Sequence[Query], future: Future[list[Answered]], since: float) -> None:
        self.queries = queries
        self.future = future
        self.since = since
        self.new = sum(map(_needs_encoder, queries))
        self.next = 0  # the first query that no batch has taken
        self.run: Run | None = None  # since the first query was taken
        self._answers: list[Answered | None] = [None] * len(queries)
        self._open = len(queries)

    @property
    def left(self) -> int:
        """How many of its queries no batch has taken."""
        return len(self.queries) - self.next

    def set_answer(self, place: int, answer: Answered) -> bool:
        """Keep an answer; returns whether it was the last one that was missing."""
        self._answers[place] = answer
        self._open -= 1
        return self._open == 0

    def answers(self) -> list[Answered]:
        """Return all answers, in the order of the queries."""
        return [answer for answer in self._answers if answer is not None]


class BatchLine:
    """Calls in order of arrival, of which the engine thread takes batches.

    Parameters
    ----------
    max_batch : int
        Most queries of a batch, >= 1.
    wait_s : float
        Longest wait for a fuller batch, in seconds.
    patience_s : float
        Longest time in line, in seconds; a call of which nothing was taken by then is given up.

    Attributes
    ----------
    pace : Pace
        What the engine needs, as far as it was seen.
    """

    def __init__(self, *, max_batch: int, wait_s: float, patience_s: float = inf) -> None:
        self._max_batch = max_batch
        self._wait_s = wait_s
        self._patience_s = patience_s
        self.pace = Pace()
        self._inbox: SimpleQueue[Call | None] = SimpleQueue()
        self._line: deque[Call] = deque()
        self._ended = False
        self._idle_since = inf  # who comes later finds the engine idle
        self._had_new = False  # whether the last batch had new prompts
        # Each is written by one thread, so that none needs a lock.
        self._n_put = self._n_taken = 0
        self._new_put = self._new_taken = 0

    @property
    def waiting(self) -> int:
        """How many queries wait."""
        return self._n_put - self._n_taken

    @property
    def new_waiting(self) -> int:
        """How many queries wait whose prompts were new when they came."""
        return self._new_put - self._new_taken

    def expected_wait_s(self, call: Call) -> float:
        """Return how long a call would be in line if it were put there now, in seconds, as far as can be told."""
        if call.new:
            return self.new_waiting * self.pace.new_prompt_s
        return (self.waiting - self.new_waiting) * self.pace.query_s

    def put(self, call: Call) -> None:
        """Add a call at the end of the line. For the event loop's thread."""
        self._n_put += len(call.queries)
        self._new_put += call.new
        self._inbox.put(call)

    def end(self) -> None:
        """Say that no more calls come. For the event loop's thread."""
        self._inbox.put(None)

    def idle(self) -> None:
        """Say that the engine has done what it took, before anybody hears of it. For the engine thread."""
        self._idle_since = perf_counter()

    def take(self) -> tuple[list[tuple[Call, int]], list[Call]]:
        """Wait for queries, and take as many as go together. For the engine thread.

        If there are none, the first to come is taken at once, with what came beside it. If some came while the engine
        was busy, but no full batch, others get a little time to join.

        Returns
        -------
        batch : list of (Call, int)
            Queries, as calls and places in them.
        late : list of Call
            Those that have waited too long, and are in line no more. Both are empty after the end, when nothing
            waits any more.
        """
        batch: list[tuple[Call, int]] = []
        late: list[Call] = []
        while not batch and not late:
            self._receive()
            if self._line:
                if self._line[0].since < self._idle_since:
                    self._wait_for_company()
            elif self._ended:
                break
            else:
                self._queue(self._inbox.get())
                self._receive()
            late = self._drop()
            batch = self._pick()
        return batch, late

    def _receive(self) -> None:
        while not self._inbox.empty():
            self._queue(self._inbox.get())

    def _queue(self, call: Call | None) -> None:
        if call is None:
            self._ended = True
        else:
            self._line.append(call)

    def _wait_for_company(self) -> None:
        until = perf_counter() + self._wait_s
        while not self._ended and self.waiting < self._max_batch and (left := until - perf_counter()) > 0:
            try:
                self._queue(self._inbox.get(timeout=left))
            except Empty:
                return
            self._receive()

    def _drop(self) -> list[Call]:
        """Take those out of the line that nobody waits for, and return those that have waited too long."""
        late: list[Call] = []
        oldest = perf_counter() - self._patience_s
        kept = deque[Call]()
        for call in self._line:
            if call.future.done():
                self._leave(call)
            elif call.since < oldest and not call.next:
                self._leave(call)
                late.append(call)
            else:
                kept.append(call)
        self._line = kept
        return late

    def _leave(self, call: Call) -> None:
        self._n_taken += call.left
        self._new_taken += call.new

    def _pick(self) -> list[tuple[Call, int]]:
        """Take a batch off the front of the line.

        After a batch with new prompts comes one without, if there are queries for it: however many new prompts come,
        whose prompt is known waits for one such batch at most.
        """
        batch: list[tuple[Call, int]] = []
        new = 0
        if self._had_new:
            batch, new = self._pick_with(0)
        if not batch:
            batch, new = self._pick_with(self.pace.new_prompts_of_a_batch)
        self._had_new = new > 0
        return batch

    def _pick_with(self, most_new: int) -> tuple[list[tuple[Call, int]], int]:
        """Take a batch with so many new prompts at most; returns how many it has, too.

        A call that got a turn and is not through goes to the end: others get in between. One that got none, because
        its next prompt is new, keeps its place.
        """
        batch: list[tuple[Call, int]] = []
        held_back: list[Call] = []
        begun: list[Call] = []
        new_prompts = 0
        while self._line and len(batch) < self._max_batch:
            call = self._line.popleft()
            first = call.next
            while call.left and len(batch) < self._max_batch:
                if _needs_encoder(call.queries[call.next]):
                    if new_prompts == most_new:
                        break
                    new_prompts += 1
                batch.append((call, call.next))
                call.next += 1
            self._n_taken += call.next - first
            if not call.left:
                self._new_taken += call.new
            else:
                (begun if call.next > first else held_back).append(call)
        self._line.extendleft(reversed(held_back))
        self._line.extend(begun)
        return batch, new_prompts


def _needs_encoder(query: Query) -> bool:
    try:
        return not query.model.recommender.knows_prompt(query.prompt)
    except Exception:  # no prompt at all; reading it says so to whom it concerns
        return False
