# The log: JSON lines that hold no prompt and no history unless that is asked for.

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from litestar.testing import TestClient

from dpr_infer import BundleError, QueryError
from dpr_infer.serve.app import build_app
from dpr_infer.serve.logs import JsonHandler, LineWriter, RequestLog, start_logging
from dpr_infer.serve.request_record import RequestRecord, Run
from dpr_infer.serve.settings import Settings

SECRET = "something funny that nobody else may read"


def lines(stream: io.BytesIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture
def stream() -> io.BytesIO:
    return io.BytesIO()


def talk(
    stream: io.BytesIO, bundle_path: Any, *, log_prompts: bool, level: str = "info"
) -> list[dict[str, Any]]:
    """Ask a server with a log, and return the lines about requests."""
    log = RequestLog(LineWriter(stream), level=level, log_prompts=log_prompts)
    settings = Settings(bundle=str(bundle_path), users="none", max_batch=2)
    with TestClient(build_app(settings, [log])) as client:
        client.blocking_portal.call(client.app.state.services.readiness.settled.wait)
        asked = {"history": ["i100"], "prompt": SECRET, "k": 2}
        client.post("/v1/recommend", json=asked, headers={"X-Request-ID": "mine-1"})
        client.post("/v1/recommend", json={"requests": [asked] * 3})
        client.post("/v1/recommend", json={"history": ["nobody"], "prompt": SECRET})
        client.get("/metrics")
        client.get("/nowhere/" + SECRET)
    return lines(stream)


def test_a_line_a_request(stream, bundle_path):
    first, many, wrong, nowhere = talk(stream, bundle_path, log_prompts=False)
    when = datetime.fromisoformat(first.pop("time"))
    assert when.utcoffset().total_seconds() == 0
    assert first.pop("duration_ms") >= first.pop("queue_ms") >= 0
    assert first == {
        "level": "info",
        "event": "request",
        "request_id": "mine-1",
        "method": "POST",
        "route": "/v1/recommend",
        "status": 200,
        "batch": 1,
    }
    assert (many["batch"], many["status"]) == (2, 200)
    assert (wrong["status"], "batch" in wrong) == (422, False)
    assert (nowhere["route"], nowhere["status"]) == ("other", 404)
    assert SECRET not in stream.getvalue().decode()
    assert "i100" not in stream.getvalue().decode()


def test_prompts_on_request(stream, bundle_path):
    first, many, *_ = talk(stream, bundle_path, log_prompts=True)
    assert first["queries"] == [{"prompt": SECRET, "history": ["i100"]}]
    assert len(many["queries"]) == 3


def test_levels(stream, bundle_path):
    assert [line["status"] for line in talk(stream, bundle_path, log_prompts=False, level="warning")] == []
    shown = talk(io.BytesIO(), bundle_path, log_prompts=False, level="debug")
    assert [line["level"] for line in shown if line["route"] == "/metrics"] == ["debug"]
    log = RequestLog(LineWriter(stream), level="warning", log_prompts=False)
    for status in (200, 404, 500, 503, 504):
        log.end(RequestRecord("r"), {"method": "GET"}, "other", status, 0.1)
    assert [(line["level"], line["status"]) for line in lines(stream)] == [
        ("error", 500),
        ("warning", 503),
        ("warning", 504),
    ]


def test_a_request_of_several_runs(stream):
    record = RequestRecord("r", runs=[Run(1.0, 1.25, 2.0, 3), Run(2.0, 2.5, 3.0, 7)])
    log = RequestLog(LineWriter(stream), level="info", log_prompts=False)
    log.end(record, {"method": "POST"}, "/v1/recommend", 200, 2.0)
    (line,) = lines(stream)
    assert (line["batch"], line["queue_ms"], line["duration_ms"]) == (7, 750.0, 2000.0)


@pytest.fixture
def logger(stream) -> Iterator[logging.Logger]:
    made = logging.getLogger("dpr_infer.serve.of_a_test")
    made.propagate = False
    made.addHandler(JsonHandler(LineWriter(stream), log_prompts=False))
    yield made
    made.handlers.clear()


def fail(error: Exception) -> None:
    raise error


def test_faults_are_written_without_what_they_quote(logger, stream):
    for error in (KeyError(SECRET), QueryError(SECRET), BundleError("catalogue.safetensors is damaged")):
        try:
            fail(error)
        except Exception:
            logger.exception("it failed")
    shown = lines(stream)
    assert [line["error"] for line in shown] == ["KeyError", "QueryError", "BundleError"]
    assert [line.get("message") for line in shown] == [None, None, "catalogue.safetensors is damaged"]
    assert all(line["stack"][-1].endswith(" fail") and "test_logs.py:" in line["stack"][-1] for line in shown)
    assert SECRET not in stream.getvalue().decode()


def test_messages_of_other_loggers_are_lines_too(logger, stream):
    logger.warning("%s of %d\nlines", "two", 2)
    logger.info("below the level of the root")
    broken = logging.makeLogRecord({"msg": "%d", "args": ("no number",), "levelname": "ERROR"})
    logger.handlers[0].emit(broken)  # past pytest's own handler, which raises
    first, second = lines(stream)
    assert (first["event"], first["level"]) == ("two of 2\nlines", "warning")
    assert first["logger"] == "dpr_infer.serve.of_a_test"
    assert second["event"] == "%d"
    assert stream.getvalue().count(b"\n") == 2


def test_what_json_does_not_have_is_spelt_out(stream):
    LineWriter(stream).write({"event": "x", "odd": {1j}, "broken": "a\ud800"})
    (line,) = lines(stream)
    assert (line["odd"], line["broken"]) == ("{1j}", "'a\\ud800'")


class Full(io.BytesIO):
    def flush(self) -> None:
        raise OSError(28, "No space left on device")


def test_a_full_disk_stops_nothing():
    LineWriter(Full()).write({"event": "x"})
    closed = io.BytesIO()
    closed.close()
    LineWriter(closed).write({"event": "x"})


def test_start_logging_takes_everything(stream):
    root, handlers, level = logging.getLogger(), logging.getLogger().handlers[:], logging.getLogger().level
    try:
        start_logging("warning", log_prompts=False, stream=stream)
        logging.getLogger("uvicorn.error").warning("from uvicorn")
        logging.getLogger("uvicorn.error").info("not this")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("from a library", stacklevel=1)
    finally:
        logging.captureWarnings(False)
        root.handlers[:] = handlers
        root.setLevel(level)
    first, second = lines(stream)
    assert (first["event"], first["logger"]) == ("from uvicorn", "uvicorn.error")
    assert "from a library" in second["event"]
