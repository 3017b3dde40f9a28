# The stacks that are compared answer the same.

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient as FastApiClient
from litestar.testing import TestClient as LitestarClient

from dpr_bench.serve.client import Client
from dpr_bench.serve.curve import median_curve
from dpr_bench.serve.pages import describe_setup
from dpr_bench.serve.processes import serving
from dpr_bench.serve.stack import STACKS, stack_markdown, stack_server
from dpr_bench.serve.stack_app import fastapi_app, litestar_app
from dpr_bench.serve.wrk import WrkResult

BODY = {"history": ["1", "2", "3"], "prompt": "a comedy", "k": 10}


def test_both_frameworks_answer_the_same():
    with LitestarClient(litestar_app()) as one, FastApiClient(fastapi_app()) as other:
        first, second = one.post("/v1/recommend", json=BODY), other.post("/v1/recommend", json=BODY)
        assert first.status_code == second.status_code == 200
        assert first.json() == second.json()
        assert first.json()["read"] == 3
        assert len(first.json()["items"]) == 10
        assert one.post("/v1/recommend", json={"history": 7}).status_code == 400
        assert other.post("/v1/recommend", json={"history": 7}).status_code == 422


@pytest.mark.parametrize("server", ["uvicorn", "granian"])
def test_the_servers_serve(server: str):
    with serving(stack_server("Litestar", server, core=None)) as started, Client(started.port) as client:
        assert client.post("/v1/recommend", BODY).json()["read"] == 3


def test_the_page_lists_every_stack_at_every_concurrency():
    def result(p50: float) -> WrkResult:
        return WrkResult(
            throughput=1000 / p50,
            p50=p50,
            p90=p50,
            p99=2 * p50,
            longest=9.0,
            statuses={200: 1},
            socket_errors=0,
            timeouts=0,
        )

    names = [f"{framework} on {server}" for framework, server in STACKS]
    curves = {name: median_curve([(1, result(n + 1.0)), (32, result(9.0))]) for n, name in enumerate(names)}
    page = stack_markdown(curves, "the command", describe_setup() | {"granian": "2"})
    assert "| Litestar on uvicorn | 1 | 1,000 | 1.000 | 2.000 | 0 |" in page
    assert all(page.count(name) == 2 for name in names)
