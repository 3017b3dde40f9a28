# What Prometheus is told: every series from the start, and never more of them.

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from dpr_infer.serve.metrics import CODES, RELOAD_RESULTS, SHED_REASONS, Metrics
from dpr_infer.serve.request_record import request_id
from dpr_infer.stopwatch import STEPS

ROUTES = ["/v1/recommend", "/v1/items/{item_id}"]


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    content, media_type = metrics.render()
    assert media_type.startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse(content.decode())
        for sample in family.samples
        if sample.name.startswith("dpr_")
    }


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(ROUTES)


def test_every_series_is_there_at_zero(metrics):
    start = samples(metrics)
    for route in (*ROUTES, "other"):
        for code in CODES:
            assert start["dpr_requests_total", (("code", code), ("route", route))] == 0
        assert start["dpr_request_seconds_count", (("route", route),)] == 0
    labelled = {"shed": ("reason", SHED_REASONS), "reloads": ("result", RELOAD_RESULTS)}
    for name, (label, values) in labelled.items():
        for value in values:
            assert start[f"dpr_{name}_total", ((label, value),)] == 0
    for step in (*STEPS, "total"):
        assert start["dpr_step_seconds_count", (("step", step),)] == 0
    counters = ("prompt_cache_hits", "prompt_cache_misses", "timeouts", "sessions_evicted", "user_events")
    gauges = ("in_flight", "queue_length", "sessions", "ready")
    names = [f"dpr_{name}_total" for name in counters] + [f"dpr_{name}" for name in gauges]
    for name in (*names, "dpr_queue_seconds_count", "dpr_batch_size_count"):
        assert start[name, ()] == 0
    assert set(start.values()) == {0}


def test_what_happens_adds_no_series(metrics):
    start = samples(metrics)
    for n, path in enumerate([*ROUTES, "/made/up", "/v1/items/7", ""]):
        metrics.request_done(path, 100 + 100 * n, 0.001 * n)
    for reason in SHED_REASONS:
        metrics.shed(reason)
    for result in RELOAD_RESULTS:
        metrics.reload_done(result)
    metrics.waited(0.1)
    metrics.batch_done(3, dict.fromkeys((*STEPS, "total"), 1.5), 1, 2)
    metrics.timeouts.inc()
    assert samples(metrics).keys() == start.keys()


def test_routes_and_codes_are_of_closed_sets(metrics):
    for path, status in ((ROUTES[1], 204), ("/v1/items/7", 404), ("/made/up", 999), ("x", 0)):
        metrics.request_done(path, status, 0.25)
    counted = samples(metrics)
    assert counted["dpr_requests_total", (("code", "2xx"), ("route", ROUTES[1]))] == 1
    others = [counted["dpr_requests_total", (("code", code), ("route", "other"))] for code in CODES]
    assert others == [1, 0, 1, 1]
    assert counted["dpr_request_seconds_sum", (("route", "other"),)] == 0.75
    assert (metrics.route(ROUTES[0]), metrics.route("/made/up")) == (ROUTES[0], "other")


def test_times_are_told_apart_below_a_millisecond(metrics):
    for seconds in (0.00015, 0.0004, 0.0009):
        metrics.request_done(ROUTES[0], 200, seconds)
    counted = samples(metrics)
    cumulative = [
        counted["dpr_request_seconds_bucket", (("le", le), ("route", ROUTES[0]))]
        for le in ("0.0001", "0.0002", "0.0005", "0.001")
    ]
    assert cumulative == [0, 1, 2, 3]


def test_steps_that_did_not_run_are_not_counted(metrics):
    metrics.batch_done(2, {"tokenise": 0.0, "score": 0.5, "total": 2.0}, 2, 0)
    counted = samples(metrics)
    assert counted["dpr_step_seconds_count", (("step", "tokenise"),)] == 0
    assert counted["dpr_step_seconds_sum", (("step", "score"),)] == 0.0005
    assert counted["dpr_batch_size_bucket", (("le", "2.0"),)] == 1
    assert counted["dpr_batch_size_bucket", (("le", "1.0"),)] == 0
    assert counted["dpr_prompt_cache_hits_total", ()] == 2


def test_one_model_serves(metrics):
    metrics.serve_model("a", "1")
    metrics.serve_model("b", "2")
    shown = [key for key in samples(metrics) if key[0] == "dpr_model_info"]
    assert shown == [("dpr_model_info", (("name", "b"), ("version", "2")))]


def test_the_queue_is_asked_when_metrics_are(metrics):
    lengths = iter([5, 7])
    metrics.watch_queue(lambda: next(lengths))
    assert [samples(metrics)["dpr_queue_length", ()] for _ in range(2)] == [5, 7]


def test_the_process_is_told_of_and_nothing_else(metrics):
    content, _ = metrics.render()
    prefixes = {family.name.partition("_")[0] for family in parse(content.decode())}
    assert prefixes == {"dpr", "process"}


def test_openmetrics_for_those_who_ask(metrics):
    content, media_type = metrics.render("application/openmetrics-text; version=1.0.0")
    assert media_type.startswith("application/openmetrics-text")
    assert content.endswith(b"# EOF\n")


def test_two_servers_count_apart(metrics):
    metrics.timeouts.inc()
    assert samples(Metrics(ROUTES))["dpr_timeouts_total", ()] == 0


@pytest.mark.parametrize("given", [b"", b"a b", b"a\nb", b"x" * 65, b"\xff", b'"}', "ü".encode()])
def test_request_ids_that_could_harm_a_log_are_replaced(given):
    made = request_id([(b"x-request-id", given)])
    assert made.encode() != given
    assert made != request_id([(b"x-request-id", given)])


def test_the_request_id_of_a_client_is_kept():
    assert request_id([(b"accept", b"*"), (b"x-request-id", b"A-7_b.c")]) == "A-7_b.c"
