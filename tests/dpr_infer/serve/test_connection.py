# Connections of clients that are slow, endless, or speak no HTTP: what they cost is bounded.

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event
from time import monotonic, sleep
from typing import Any

import pytest
import uvloop

from dpr_infer import Recommender
from dpr_infer.serve.lifecycle import listen, watched
from live_server import LiveServer, live_server

HEAD = b"POST /v1/recommend HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def server(bundle_path: Path) -> Iterator[LiveServer]:
    with live_server(bundle=str(bundle_path), request_timeout_s=0.5, max_batch=1) as started:
        yield started


@pytest.fixture(scope="module")
def patient_server(bundle_path: Path) -> Iterator[LiveServer]:
    """A server that waits for ever, so that bytes alone end a connection."""
    with live_server(bundle=str(bundle_path), request_timeout_s=3600, max_batch=1) as started:
        yield started


def connect(server: LiveServer) -> socket.socket:
    host, port = server.address.split(":")
    return socket.create_connection((host, int(port)), timeout=20)


@pytest.fixture
def connection(server: LiveServer) -> Iterator[socket.socket]:
    with connect(server) as opened:
        yield opened


@pytest.fixture
def patient(patient_server: LiveServer) -> Iterator[socket.socket]:
    with connect(patient_server) as opened:
        yield opened


def read_answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Read one answer: status, headers, body."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65_536)
        assert piece, f"the connection was closed after {received!r}"
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        body += connection.recv(65_536)
    return int(first.split()[1]), headers, body


def read_to_end(connection: socket.socket) -> bytes:
    """Read until the server closes the connection, be it politely or not."""
    received = b""
    try:
        while piece := connection.recv(65_536):
            received += piece
    except ConnectionError:
        pass
    return received


def test_a_connection_answers_request_after_request(connection: socket.socket):
    for _ in range(2):
        connection.sendall(HEAD + b"Content-Length: 7\r\n\r\n" + b'{"k":1}')
        status, headers, body = read_answer(connection)
        assert status == 200
        assert len(json.loads(body)["items"]) == 1
        assert "server" not in headers


def test_requests_may_come_before_answers(connection: socket.socket):
    request = HEAD + b"Content-Length: 7\r\n\r\n" + b'{"k":1}'
    connection.sendall(request * 3)
    received = b""
    while received.count(b'"model"') < 3:
        received += connection.recv(65_536)
    assert received.count(b"HTTP/1.1 200 OK") == 3


def test_a_request_that_came_before_an_answer_does_not_end_the_connection(connection: socket.socket):
    request = HEAD + b"Content-Length: 7\r\n\r\n" + b'{"k":1}'
    connection.sendall(request + request[:-3])
    assert read_answer(connection)[0] == 200
    connection.sendall(request[-3:])
    assert read_answer(connection)[0] == 200
    sleep(0.7)  # longer than a request may take
    connection.sendall(request)
    assert read_answer(connection)[0] == 200


def test_a_body_in_chunks(connection: socket.socket):
    connection.sendall(HEAD + b'Transfer-Encoding: chunked\r\n\r\n3\r\n{"k\r\n4\r\n":1}\r\n0\r\n\r\n')
    assert read_answer(connection)[0] == 200


def test_a_body_in_chunks_ends_with_413_once_it_is_too_large(connection: socket.socket):
    connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    for _ in range(17):  # a piece more than 1 MiB, and no end
        connection.sendall(chunk)
    status, headers, body = read_answer(connection)
    assert status == 413
    assert headers["content-type"] == "application/problem+json"
    assert "at most 1048576 bytes" in json.loads(body)["detail"]
    assert read_to_end(connection) == b""  # who goes on for ever, or says no more, is not waited for


def test_a_declared_length_that_is_too_large_is_refused_before_the_body(connection: socket.socket):
    connection.sendall(HEAD + b"Content-Length: 1048577\r\n\r\n")
    assert read_answer(connection)[0] == 413


def test_a_body_that_does_not_come_is_a_timeout(connection: socket.socket):
    connection.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")
    status, _, body = read_answer(connection)
    assert status == 504
    assert "at most 0.5 s" in json.loads(body)["detail"]
    assert read_to_end(connection) == b""


@pytest.mark.parametrize("sent", [b"", b"POST /v1/rec", HEAD])
def test_a_head_that_does_not_come_closes_the_connection(connection: socket.socket, sent: bytes):
    connection.sendall(sent)
    assert read_to_end(connection) == b""


def test_a_second_head_that_does_not_come_closes_the_connection(connection: socket.socket):
    connection.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")
    read_answer(connection)
    connection.sendall(b"GET / HT")
    assert read_to_end(connection) == b""


@pytest.mark.parametrize(
    "junk", [b"hello\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01", b"GET / HTTP/9.9\r\n\r\n"]
)
def test_what_is_no_http_is_400(connection: socket.socket, junk: bytes):
    connection.sendall(junk)
    received = read_to_end(connection)
    assert received.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert json.loads(received.partition(b"\r\n\r\n")[2])["status"] == 400


def test_an_endless_head_is_cut_off(patient: socket.socket):
    patient.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n")
    try:
        for number in range(100):
            patient.sendall(b"X-%d: " % number + b"x" * 8_000 + b"\r\n")
    except ConnectionError:
        pass  # cut off while sending
    received = read_to_end(patient)
    assert received == b"" or received.startswith(b"HTTP/1.1 431 ")


def test_an_endless_header_is_cut_off(patient: socket.socket):
    try:
        patient.sendall(b"GET / HTTP/1.1\r\nX-Long: ")
        for _ in range(100):
            patient.sendall(b"x" * 65_536)
    except ConnectionError:
        pass
    received = read_to_end(patient)
    assert received == b"" or received.startswith(b"HTTP/1.1 431 ")


def test_endless_trailers_are_cut_off(patient: socket.socket):
    patient.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n")
    try:
        for _ in range(100):
            patient.sendall(b"X-Trailer: " + b"x" * 60_000 + b"\r\n")
    except ConnectionError:
        pass
    assert b"200 OK" not in read_to_end(patient)


def test_a_client_that_leaves_is_no_failure_of_the_server(server: LiveServer, connection: socket.socket):
    def failures() -> float:
        labels = {"route": "/v1/recommend", "code": "5xx"}
        return float(server.services.metrics.registry.get_sample_value("dpr_requests_total", labels) or 0)

    before = failures()
    connection.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")
    connection.close()
    with connect(server) as another:
        another.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")
        assert read_answer(another)[0] == 504  # the other one is over by then
    assert failures() == before + 1


def test_who_is_refused_for_there_being_too_many_is_not_read_for_a_while(
    bundle_path: Path, monkeypatch: pytest.MonkeyPatch
):
    request = HEAD + b"Content-Length: 2\r\n\r\n{}"
    monkeypatch.setattr("dpr_infer.serve.connection._PAUSE_S", 0.3)
    with live_server(bundle=str(bundle_path), max_batch=1) as server, connect(server) as connection:
        server.services.readiness._most = 0
        connection.sendall(request)
        begun = monotonic()
        assert read_answer(connection)[0] == 503
        server.services.readiness._most = 1
        connection.sendall(request)
        assert read_answer(connection)[0] == 200
        assert monotonic() - begun >= 0.3
        begun = monotonic()
        connection.sendall(request * 2)
        read_answer(connection)
        assert monotonic() - begun < 0.3  # others are read on


def test_whose_client_left_is_dropped_before_the_engine(bundle_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[int] = []
    busy, go_on, answer = Event(), Event(), Recommender.query_each

    def held(self: Recommender, queries: Sequence[Any], **options: Any) -> Any:
        asked.extend(query.k for query in queries)
        busy.set()
        assert go_on.wait(60)
        return answer(self, queries, **options)

    def value(name: str, **labels: str) -> float:
        return float(server.services.metrics.registry.get_sample_value(name, labels) or 0)

    def until(name: str, number: float) -> None:
        while value(name) != number:
            sleep(0.001)

    with live_server(bundle=str(bundle_path), request_timeout_s=60, max_batch=1) as server:
        monkeypatch.setattr(Recommender, "query_each", held)
        with connect(server) as first, connect(server) as patient:
            first.sendall(HEAD + b'Content-Length: 7\r\n\r\n{"k":1}')
            assert busy.wait(60)
            with connect(server) as leaving:
                leaving.sendall(HEAD + b'Content-Length: 7\r\n\r\n{"k":2}')
                until("dpr_queue_length", 1)
                patient.sendall(HEAD + b'Content-Length: 7\r\n\r\n{"k":3}')
                until("dpr_queue_length", 2)
            until("dpr_abandoned_total", 1)
            go_on.set()
            assert [read_answer(one)[0] for one in (first, patient)] == [200, 200]
        assert asked == [1, 3]
        assert value("dpr_requests_total", route="/v1/recommend", code="4xx") == 1
        assert value("dpr_requests_total", route="/v1/recommend", code="5xx") == 0


def test_many_that_come_at_once_are_taken_in_few_turns_of_the_event_loop():
    taken: list[asyncio.BaseTransport] = []

    class Taking(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            taken.append(transport)

    async def turns() -> int:
        loop = asyncio.get_running_loop()
        socks = watched(listen("127.0.0.1", 0))
        servers = [await loop.create_server(Taking, sock=sock, backlog=256) for sock in socks]
        clients = [socket.socket() for _ in range(160)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(socks[0].getsockname())
        count = 0
        while len(taken) < 160:
            await asyncio.sleep(0)
            count += 1
        for one in (*servers, *taken):
            one.close()
        await asyncio.sleep(0)
        for sock in (*socks, *clients):
            sock.close()
        return count

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(turns()) < 40


def test_more_connections_than_there_may_be_are_refused(bundle_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dpr_infer.serve.lifecycle._MOST_CONNECTIONS", 2)
    with live_server(bundle=str(bundle_path), max_batch=1) as server:
        first, second = connect(server), connect(server)
        for one in (first, second):
            one.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: test\r\n\r\n")
            assert read_answer(one)[0] == 200
        with connect(server) as third:
            received = read_to_end(third)
        assert received.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in received.lower()
        first.close()
        second.close()
