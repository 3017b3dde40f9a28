# The open loop: it keeps its rate, and says what came back.

from __future__ import annotations

import json
from threading import Event

from dpr_bench.serve.faults.flood import send_flood


def body(number: int) -> bytes:
    return json.dumps({"number": number}).encode()


def test_different_requests_at_a_rate(stub):
    def answer(path: str, content: bytes) -> tuple[int, dict[str, str], object]:
        number = json.loads(content)["number"]
        if number % 4 == 0:
            return 503, {"Retry-After": "1"} if number % 8 == 0 else {}, {}
        return 200, {}, {}

    server = stub(answer)
    flood = send_flood(server.port, "/v1/recommend", body, rate=100, seconds=1.0)
    assert 0 < flood.sent <= 101
    assert flood.sent == len(server.bodies) == len(set(server.bodies))
    assert flood.statuses[503] == -(-flood.sent // 4)
    assert flood.hopeless == flood.statuses[503] // 2
    assert flood.statuses.total() == flood.sent


def test_a_server_that_does_not_keep_up_is_not_waited_for(stub):
    held = Event()

    def answer(path: str, content: bytes) -> tuple[int, dict[str, str], object]:
        held.wait(0.3)
        return 200, {}, {}

    flood = send_flood(stub(answer).port, "/", body, rate=200, seconds=0.5, connections=5)
    assert flood.late > 0
    assert flood.statuses == {200: flood.sent}


def test_nobody_there():
    flood = send_flood(1, "/", body, rate=50, seconds=0.2)
    assert flood.statuses == {0: flood.sent}
    assert flood.sent > 0
