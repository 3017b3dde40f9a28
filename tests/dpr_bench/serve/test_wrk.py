# What wrk says, read; and wrk itself, run against a server that says what it is told.

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dpr_bench.serve import wrk
from dpr_bench.serve.wrk import parse_wrk, require_wrk, run_wrk

OUTPUT = """Running 2s test @ http://127.0.0.1:1/v1/recommend
  1 threads and 8 connections
  210 requests in 2.00s, 1.00MB read
RESULT {"requests": 210, "duration_us": 2000000, "statuses": {"503": 6, "200": 200, "422": 4}, "socket_errors": 2, \
"timeouts": 1, "p50_us": 1500, "p90_us": 2000, "p99_us": 12345, "max_us": 20000}
"""


def test_what_wrk_prints_is_read():
    result = parse_wrk(OUTPUT)
    assert result.throughput == 100.0  # of answers, not of requests
    assert (result.p50, result.p90, result.p99, result.longest) == (1.5, 2.0, 12.345, 20.0)
    assert list(result.statuses) == [200, 422, 503]
    assert result.shed == 6
    assert result.failures == 4 + 2 + 1
    assert json.loads(json.dumps(result.as_dict()))["statuses"] == {"200": 200, "422": 4, "503": 6}


@pytest.mark.parametrize("output", ["", "Running 2s test\n", OUTPUT + OUTPUT])
def test_output_without_one_result(output: str):
    with pytest.raises(ValueError, match="wrk must print one line RESULT"):
        parse_wrk(output)


def test_a_machine_without_wrk(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(wrk.shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="apt-get install wrk"):
        require_wrk()


@pytest.mark.debian("wrk", "wrk")
def test_wrk_sends_every_body_in_turn_and_counts_what_comes_back(stub, tmp_path: Path):
    def answer(path: str, body: bytes) -> tuple[int, dict[str, str], object]:
        number = json.loads(body)["number"]
        return {0: 503, 1: 422}.get(number, 200), {}, {"path": path}

    server = stub(answer)
    bodies = tmp_path / "bodies"
    bodies.write_text("".join(json.dumps({"number": n}) + "\n" for n in range(8)), encoding="utf-8")
    url = f"http://127.0.0.1:{server.port}/v1/recommend"
    result = run_wrk(url, bodies, connections=2, seconds=1, core=None)
    asked = [json.loads(body)["number"] for body in server.bodies]
    counts = [asked.count(number) for number in range(8)]
    assert max(counts) - min(counts) <= 1
    answered = sum(result.statuses.values())
    assert len(asked) - 2 <= answered <= len(asked)  # the end cuts off at most one answer a connection
    assert abs(result.statuses[503] - answered / 8) <= 2
    assert result.throughput < answered
    assert 0 < result.p50 <= result.p99 <= result.longest


@pytest.mark.debian("wrk", "wrk")
def test_wrk_without_a_server_fails(tmp_path: Path):
    bodies = tmp_path / "bodies"
    bodies.write_text("{}\n", encoding="utf-8")
    with pytest.raises(ValueError, match="wrk failed"):
        run_wrk("http://127.0.0.1:1/", bodies, connections=1, seconds=1, core=None)
