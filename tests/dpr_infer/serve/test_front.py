# What every request passes: not before the model is warm, not too many, not for too long, and all of it counted.

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from dpr_infer import Recommender
from dpr_infer.errors import EngineError
from dpr_infer.serve.readiness import DRAINING, FAILED
from dpr_infer.serve.served_model import ServedModel

Client = TestClient[Litestar]
MakeClient = Callable[..., Client]


class Gate:
    """Holds the engine up until it is opened."""

    def __init__(self) -> None:
        self.reached, self.open = Event(), Event()

    def hold(self) -> None:
        self.reached.set()
        self.open.wait()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """Holds every batch up."""
    gate, answer = Gate(), Recommender.query_each

    def held(self: Recommender, *args: Any, **options: Any) -> Any:
        gate.hold()
        return answer(self, *args, **options)

    monkeypatch.setattr(Recommender, "query_each", held)
    yield gate
    gate.open.set()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads


def value(client: Client, name: str, **labels: str) -> float:
    metrics = client.app.state.services.metrics
    return float(metrics.registry.get_sample_value(name, labels) or 0)


def recommend(client: Client, **request: Any) -> Any:
    return client.post("/v1/recommend", json=request)


def test_nothing_is_answered_before_the_model_is_warm(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
):
    gate = Gate()
    monkeypatch.setattr(ServedModel, "warm", lambda self: gate.hold())
    client = make_client(warm=False)
    for answer in (client.get("/v2/health/ready"), client.get("/v2/models/tiny/ready"), recommend(client)):
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
    assert client.get("/v2/health/live").status_code == 200
    assert value(client, "dpr_ready") == 0
    assert value(client, "dpr_shed_total", reason="not_ready") == 2
    gate.open.set()
    client.blocking_portal.call(client.app.state.services.readiness.settled.wait)
    assert client.get("/v2/health/ready").status_code == 200
    assert recommend(client).status_code == 200
    assert value(client, "dpr_ready") == 1


def test_a_model_that_cannot_warm_up_never_serves(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch):
    def fail(self: ServedModel) -> None:
        raise EngineError("no")

    monkeypatch.setattr(ServedModel, "warm", fail)
    client = make_client()
    assert client.app.state.services.readiness.state == FAILED
    assert "failed to warm up" in recommend(client).json()["detail"]


def test_a_draining_server_takes_no_request(make_client: MakeClient):
    client = make_client()
    client.app.state.services.readiness.become(DRAINING)
    answer = recommend(client)
    assert answer.status_code == 503
    assert answer.json()["type"] == "urn:dpr:draining"
    assert answer.headers["connection"] == "close"
    assert client.get("/v2/health/ready").status_code == 503
    client.app.state.services.readiness.become("ready")  # what drains stays so
    assert recommend(client).status_code == 503


def test_what_takes_too_long_is_given_up(make_client: MakeClient, gate: Gate):
    client = make_client(request_timeout_s=0.05)
    answer = recommend(client)
    assert answer.status_code == 504
    assert answer.json()["type"] == "urn:dpr:timeout"
    assert value(client, "dpr_timeouts_total") == 1
    assert value(client, "dpr_in_flight") == 0


def test_queries_beyond_the_limit_are_refused(make_client: MakeClient, gate: Gate, pool: ThreadPoolExecutor):
    client = make_client(queue_limit=1, max_batch=1)
    first = pool.submit(recommend, client)
    gate.reached.wait()  # one is under way
    others: list[Future[Any]] = [pool.submit(recommend, client) for _ in range(4)]
    refused = next(future for future in others if future_status(future) == 503).result()
    assert refused.json()["type"] == "urn:dpr:queue-full"
    assert int(refused.headers["retry-after"]) >= 1
    gate.open.set()
    statuses = [first.result().status_code, *(future.result().status_code for future in others)]
    assert statuses.count(200) >= 1
    assert set(statuses) <= {200, 503}
    assert value(client, "dpr_shed_total", reason="queue_full") == statuses.count(503)


def future_status(future: Future[Any]) -> int | None:
    """The status of an answer that comes without the gate being opened; None for one that waits for it."""
    try:
        return int(future.result(timeout=1).status_code)
    except TimeoutError:
        return None


def test_health_metrics_and_page_are_answered_whatever_the_load(
    make_client: MakeClient, gate: Gate, pool: ThreadPoolExecutor
):
    client = make_client(queue_limit=1, max_batch=1)
    under_way = pool.submit(recommend, client)
    gate.reached.wait()
    for path in ("/v2/health/live", "/v2/health/ready", "/metrics", "/", "/openapi.json"):
        assert client.get(path).status_code == 200
    assert value(client, "dpr_in_flight") == 1
    gate.open.set()
    assert under_way.result().status_code == 200


def test_a_failing_engine_is_500_and_tells_nothing(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    client = make_client()

    def fail(self: Recommender, *args: Any, **options: Any) -> Any:
        raise EngineError("at /some/path/of/this/machine")

    monkeypatch.setattr(Recommender, "query_each", fail)
    answer = recommend(client, prompt="my secret")
    assert answer.status_code == 500
    assert answer.json()["title"] == "Internal error"
    assert "machine" not in answer.text
    assert "secret" not in caplog.text


def test_requests_are_counted_by_template(make_client: MakeClient):
    client = make_client()
    client.get("/v1/items/i100")
    client.get("/v1/items/none")
    client.get("/v1/nothing")
    recommend(client, k=0)
    counted = {
        ("/v1/items/{item_id}", "2xx"): 1.0,
        ("/v1/items/{item_id}", "4xx"): 1.0,
        ("other", "4xx"): 1.0,
        ("/v1/recommend", "4xx"): 1.0,
    }
    for (route, code), count in counted.items():
        assert value(client, "dpr_requests_total", route=route, code=code) == count
    assert value(client, "dpr_request_seconds_count", route="/v1/items/{item_id}") == 2


def test_refusals_are_counted_by_their_route_where_it_can_be_told(make_client: MakeClient):
    client = make_client(api_key=("key",))
    recommend(client)
    assert value(client, "dpr_requests_total", route="/v1/recommend", code="4xx") == 1


def test_an_answer_has_the_id_of_its_request(client: Client):
    answer = client.get("/v1/model", headers={"X-Request-ID": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"
    ids = {client.get("/v1/model").headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3
