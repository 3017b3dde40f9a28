# Whether the server takes requests: starting, ready, draining; and how many it is answering.

from __future__ import annotations

import asyncio

from dpr_infer.serve.metrics import Metrics
from dpr_infer.serve.problems import Overloaded, Unavailable

STARTING, READY, DRAINING, FAILED = "starting", "ready", "draining", "failed"


class Readiness:
    """The state of one server. For one event loop.

    Parameters
    ----------
    most : int
        Most requests under way.
    metrics : Metrics
        Told of changes and refusals.

    Attributes
    ----------
    state : str
        STARTING until warm, READY, DRAINING after the signal to end, FAILED if it can't become warm.
    in_flight : int
        Requests under way; those to health, metrics and the page do not count.
    settled : Event
        Set when it is no longer starting, be it ready or not.
    """

    def __init__(self, most: int, metrics: Metrics) -> None:
        self.state = STARTING
        self.in_flight = 0
        self._most = most
        self._metrics = metrics
        self.settled = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def ready(self) -> bool:
        """Whether requests are taken."""
        return self.state == READY

    def become(self, state: str) -> None:
        """Enter a state; what drains stays so."""
        if self.state != DRAINING:
            self.state = state
        if self.state != STARTING:
            self.settled.set()
        self._metrics.ready.set(self.ready)

    def enter(self) -> None:
        """Begin a request.

        Raises
        ------
        Unavailable
            If requests are not taken now; `leave` must not be called then.
        """
        try:
            self._check()
        except Unavailable as refused:
            self._metrics.shed(refused.reason)
            raise
        self.in_flight += 1
        self._idle.clear()
        self._metrics.in_flight.set(self.in_flight)

    def refusal(self) -> Unavailable:
        """Return why requests are not taken."""
        if self.state == DRAINING:
            return Unavailable("the server is closing down; ask another one", "draining")
        if self.state == FAILED:
            return Unavailable("the model failed to warm up; the server's log says why", "not_ready")
        return Unavailable("the server is not ready yet", "not_ready")

    def _check(self) -> None:
        if self.state != READY:
            raise self.refusal()
        if self.in_flight >= self._most:
            raise Overloaded(f"at most {self._most} requests may be under way; try again")

    def leave(self) -> None:
        """End a request."""
        self.in_flight -= 1
        self._metrics.in_flight.set(self.in_flight)
        if self.in_flight == 0:
            self._idle.set()

    async def idle(self) -> None:
        """Wait until no request is under way."""
        await self._idle.wait()
