# What one server counts and measures, for Prometheus: a registry of its own, a closed set of series, all of them there
# from the start.

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

from dpr_infer.stopwatch import STEPS

OTHER_ROUTE = "other"
CODES = ("2xx", "3xx", "4xx", "5xx")
SHED_REASONS = ("queue_full", "new_prompts", "waited", "draining", "not_ready")
RELOAD_RESULTS = ("ok", "failed")

# Seconds. A request takes a fraction of a millisecond, and a step of it a fraction of that.
_REQUEST_BUCKETS = (
    0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
)  # fmt: skip
_STEP_BUCKETS = (
    0.00001, 0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5,
)  # fmt: skip
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The metrics of one app. Every method may be called from any thread.

    Parameters
    ----------
    routes : iterable of str
        Templates of the routes, such as "/v1/items/{id}". Requests of others are counted as "other", so that
        nobody can make up series by asking for made-up paths.

    Attributes
    ----------
    registry : prometheus_client.CollectorRegistry
        Where all of them are registered, and nothing else.
    in_flight, sessions, ready : prometheus_client.Gauge
        Requests being answered, conversations kept, and whether requests are taken (0 or 1).
    timeouts, abandoned, sessions_evicted, user_events : prometheus_client.Counter
        Requests answered too late, requests whose clients left before, conversations given up for want of room, events
        stored.

    Examples
    --------
    >>> metrics = Metrics(["/v1/recommend"])
    >>> metrics.request_done("/v1/recommend", 200, 0.0004)
    >>> metrics.registry.get_sample_value("dpr_requests_total", {"route": "/v1/recommend", "code": "2xx"})
    1.0
    """

    def __init__(self, routes: Iterable[str]) -> None:
        # A time beside every series would double their number and tell nothing. (For the process, not one registry.)
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._add_requests(sorted({*routes, OTHER_ROUTE}))
        self._add_batches()
        self._add_state()

    def _add_requests(self, routes: list[str]) -> None:
        requests = self._counter("requests", "Requests answered", "route", "code")
        self._requests = {(route, code): requests.labels(route, code) for route in routes for code in CODES}
        seconds = self._histogram("request_seconds", "Time from request to answer", _REQUEST_BUCKETS, "route")
        self._request_seconds = {route: seconds.labels(route) for route in routes}
        self.in_flight = self._gauge("in_flight", "Requests being answered")
        shed = self._counter("shed", "Requests refused by an overloaded, closing or unready server", "reason")
        self._shed = {reason: shed.labels(reason) for reason in SHED_REASONS}
        self.timeouts = self._counter("timeouts", "Requests that took longer than a request may")
        self.abandoned = self._counter("abandoned", "Requests whose clients left before the answer")

    def _add_batches(self) -> None:
        self._queue_seconds = self._histogram("queue_seconds", "Time a query waited", _STEP_BUCKETS)
        self._batch_size = self._histogram("batch_size", "Queries answered together", _BATCH_BUCKETS)
        steps = self._histogram("step_seconds", "Time of a batch's steps", _STEP_BUCKETS, "step")
        self._steps = {step: steps.labels(step) for step in (*STEPS, "total")}
        self._queue_length = self._gauge("queue_length", "Queries that wait")
        self._hits = self._counter("prompt_cache_hits", "Prompts whose reading was kept, in all their turns")
        self._misses = self._counter("prompt_cache_misses", "Prompts of which something was read anew")

    def _add_state(self) -> None:
        self.sessions = self._gauge("sessions", "Conversations kept")
        self.sessions_evicted = self._counter("sessions_evicted", "Conversations given up for want of room")
        self.user_events = self._counter("user_events", "Events stored in users' histories")
        reloads = self._counter("reloads", "Attempts to serve another bundle", "result")
        self._reloads = {result: reloads.labels(result) for result in RELOAD_RESULTS}
        self.ready = self._gauge("ready", "Whether requests are taken")
        self._model_info = self._gauge("model_info", "The model that serves", "name", "version")

    def route(self, path: str) -> str:
        """Return a path that is a route's template, and "other" for any other."""
        return path if path in self._request_seconds else OTHER_ROUTE

    def request_done(self, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered.

        Parameters
        ----------
        route : str
            The route's template; any other text counts as "other".
        status : int
            The HTTP status.
        seconds : float
            From the request's arrival to its answer.
        """
        route = self.route(route)
        self._requests[route, CODES[min(max(status // 100, 2), 5) - 2]].inc()
        self._request_seconds[route].observe(seconds)

    def shed(self, reason: str) -> None:
        """Count a request that was refused; the reason is one of `SHED_REASONS`."""
        self._shed[reason].inc()

    def waited(self, seconds: float) -> None:
        """Count how long a request waited for its batch."""
        self._queue_seconds.observe(seconds)

    def batch_done(self, size: int, timings_ms: Mapping[str, float], hits: int, misses: int) -> None:
        """Count a native batch.

        Parameters
        ----------
        size : int
            Queries in it.
        timings_ms : mapping of str to float
            Milliseconds by step, as `Recommendation.timings_ms`. A step of no time did not run and is not counted.
        hits, misses : int
            Prompts of which every turn's reading was kept, and others.
        """
        self._batch_size.observe(size)
        for step, milliseconds in timings_ms.items():
            if milliseconds:
                self._steps[step].observe(milliseconds / 1e3)
        self._hits.inc(hits)
        self._misses.inc(misses)

    def reload_done(self, result: str) -> None:
        """Count an attempt to serve another bundle; the result is one of `RELOAD_RESULTS`."""
        self._reloads[result].inc()

    def serve_model(self, name: str, version: str) -> None:
        """Say which model serves; only the last one said is told."""
        self._model_info.clear()
        self._model_info.labels(name, version).set(1)

    def watch_queue(self, length: Callable[[], float]) -> None:
        """Say how to learn the number of queries that wait; it is asked when metrics are."""
        self._queue_length.set_function(length)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Write all metrics down.

        Parameters
        ----------
        accept : str
            The request's Accept header: Prometheus' text format unless it asks for OpenMetrics.

        Returns
        -------
        content : bytes
            The metrics.
        content_type : str
            What they are.
        """
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"dpr_{name}", what, labels, registry=self.registry)

    def _gauge(self, name: str, what: str, *labels: str) -> Gauge:
        return Gauge(f"dpr_{name}", what, labels, registry=self.registry)

    def _histogram(self, name: str, what: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"dpr_{name}", what, labels, buckets=buckets, registry=self.registry)
