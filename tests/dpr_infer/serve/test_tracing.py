# Traces: a span a request, within it those of its queries; and no OpenTelemetry unless it is asked for.

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from litestar.testing import TestClient
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from dpr_infer import MissingExtraError, _optional
from dpr_infer.serve.app import build_app
from dpr_infer.serve.request_record import RequestRecord, Run
from dpr_infer.serve.settings import Settings
from dpr_infer.serve.tracing import Tracing

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter) -> Iterator[Tracing]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    made = Tracing(provider)
    yield made
    made.close()


def spans(exporter: InMemorySpanExporter) -> dict[str, Any]:
    return {span.name: span for span in exporter.get_finished_spans()}


def test_spans_of_a_request(bundle_path, tracing, exporter):
    settings = Settings(bundle=str(bundle_path), users="none", max_batch=2)
    with TestClient(build_app(settings, [tracing])) as client:
        client.blocking_portal.call(client.app.state.services.readiness.settled.wait)
        exporter.clear()
        headers = {"traceparent": PARENT, "X-Request-ID": "mine"}
        client.post("/v1/recommend", json={"prompt": "comedy"}, headers=headers)
    made = spans(exporter)
    request, queue, batch = (made[name] for name in ("POST /v1/recommend", "queue", "batch"))
    assert len(made) == 3
    assert request.kind is SpanKind.SERVER
    assert format(request.context.trace_id, "032x") == PARENT[3:35]
    assert format(request.parent.span_id, "016x") == PARENT[36:52]
    assert request.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/recommend",
        "http.response.status_code": 200,
        "dpr.request_id": "mine",
        "dpr.queries": 1,
    }
    for span in (queue, batch):
        assert span.parent.span_id == request.context.span_id
        assert request.start_time <= span.start_time <= span.end_time <= request.end_time
    assert queue.end_time == batch.start_time
    assert batch.attributes["dpr.batch_size"] == 1
    assert batch.attributes["dpr.step.score_ms"] > 0


@pytest.mark.parametrize(("status", "code"), [(404, StatusCode.UNSET), (503, StatusCode.ERROR)])
def test_faults_of_the_server_are_errors(tracing, exporter, status, code):
    record, scope = RequestRecord("r"), {"method": "GET", "headers": []}
    tracing.begin(record, scope)
    tracing.end(record, scope, "other", status, 0.1)
    (span,) = exporter.get_finished_spans()
    assert (span.name, span.status.status_code, span.parent) == ("GET other", code, None)


def test_every_run_has_its_spans(tracing, exporter):
    record, scope = RequestRecord("r"), {"method": "POST", "headers": [(b"traceparent", b"\xff nonsense")]}
    tracing.begin(record, scope)
    record.runs += [Run(1.0, 1.5, 3.0, 4, {"total": 2.0}), Run(3.0, 3.25, 3.5, 1)]
    tracing.end(record, scope, "/v1/recommend", 200, 2.5)
    lengths = [
        (span.name, (span.end_time - span.start_time) / 1e9) for span in exporter.get_finished_spans()[:-1]
    ]
    assert lengths == [("queue", 0.5), ("batch", 1.5), ("queue", 0.25), ("batch", 0.25)]


def test_a_request_that_was_not_begun_has_no_span(tracing, exporter):
    tracing.end(RequestRecord("r"), {"method": "GET"}, "other", 200, 0.1)
    assert exporter.get_finished_spans() == ()


def test_the_extra_is_named_if_it_is_missing(monkeypatch):
    def fail(name: str) -> None:
        raise ImportError(f"no {name}")

    monkeypatch.setattr(_optional.importlib, "import_module", fail)
    with pytest.raises(MissingExtraError, match=r"traces need dpr-infer\[otel\]"):
        Tracing()


def test_nothing_is_imported_when_traces_are_off():
    program = (
        "import sys, dpr_infer.serve.lifecycle\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_exporter_is_what_the_environment_says(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    tracing = Tracing()
    assert tracing._provider.resource.attributes["service.name"] == "shop"
    tracing.close()
    monkeypatch.delenv("OTEL_SERVICE_NAME")
    tracing = Tracing()
    assert tracing._provider.resource.attributes["service.name"] == "dpr-serve"
    tracing.close()
