# Traces, as OpenTelemetry has them: a span for each request and, within it, for the time in line and for the batch.
# Nothing of OpenTelemetry is imported unless traces are asked for.

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Any

from dpr_infer._optional import import_opentelemetry
from dpr_infer.serve.request_record import RequestRecord, Run

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider


class Tracing:
    """Makes spans of requests, children of the client's if it sends a W3C traceparent.

    Parameters
    ----------
    provider : opentelemetry.sdk.trace.TracerProvider, optional
        Where spans go; by default over OTLP/HTTP to where OpenTelemetry's OTEL_* variables say.

    Raises
    ------
    MissingExtraError
        If OpenTelemetry is not installed.
    """

    def __init__(self, provider: TracerProvider | None = None) -> None:
        import_opentelemetry()
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider or _otlp_provider()
        self._tracer = self._provider.get_tracer("dpr_infer.serve")
        self._extract = TraceContextTextMapPropagator().extract
        self._server, self._error = trace.SpanKind.SERVER, trace.StatusCode.ERROR
        self._within = trace.set_span_in_context

    def begin(self, record: RequestRecord, scope: Any) -> None:
        """Begin the span of a request."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        record.span = self._tracer.start_span(
            scope["method"], context=self._extract(headers), kind=self._server
        )

    def end(self, record: RequestRecord, scope: Any, route: str, status: int, seconds: float) -> None:
        """End the span of a request, and make those of its queries."""
        span = record.span
        if span is None:
            return
        if span.is_recording():
            self._add_runs(record)
            span.update_name(f"{scope['method']} {route}")
            span.set_attributes(
                {
                    "http.request.method": scope["method"],
                    "http.route": route,
                    "http.response.status_code": status,
                    "dpr.request_id": record.request_id,
                    "dpr.queries": len(record.queries),
                }
            )
            if status >= 500:
                span.set_status(self._error)
        span.end()

    def _add_runs(self, record: RequestRecord) -> None:
        context, epoch = self._within(record.span), time_ns() - round(perf_counter() * 1e9)
        for run in record.runs:
            self._add_span("queue", run.arrived, run.began, {}, context, epoch)
            self._add_span("batch", run.began, run.ended, _batch_attributes(run), context, epoch)

    def _add_span(
        self,
        name: str,
        began: float,
        ended: float,
        attributes: Mapping[str, float],
        context: Any,
        epoch: int,
    ) -> None:
        """Make a span of the past; `epoch` is the clock's nanoseconds when `perf_counter` was 0."""
        span = self._tracer.start_span(
            name, context=context, attributes=attributes, start_time=epoch + round(began * 1e9)
        )
        span.end(epoch + round(ended * 1e9))

    def close(self) -> None:
        """Send what is left. Blocks, for seconds where nobody listens."""
        self._provider.shutdown()


def _batch_attributes(run: Run) -> dict[str, float]:
    steps = {f"dpr.step.{step}_ms": milliseconds for step, milliseconds in run.timings_ms.items()}
    return {"dpr.batch_size": run.batch, **steps}


def _otlp_provider() -> TracerProvider:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    # The environment once more: OTEL_SERVICE_NAME goes before our name.
    resource = Resource.create({SERVICE_NAME: "dpr-serve"}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
