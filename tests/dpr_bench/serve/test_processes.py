# Servers as processes: started, ended, looked at.

from __future__ import annotations

import os
import sys

import pytest

from dpr_bench.serve.client import Client
from dpr_bench.serve.processes import ServerProcess, footprint, free_port, on_load_core, pinned, serving

SCRIPT = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'# a comment\\nname 3\\nname{label="x"} 2.5\\n'
        self.send_response(200 if self.path in ("/ready", "/metrics") else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def stub_process(script: str = SCRIPT) -> ServerProcess:
    port = free_port()
    return ServerProcess([sys.executable, "-c", script, str(port)], port, ready_path="/ready", environment={})


def test_it_is_ready_then_looked_at_then_gone():
    with serving(stub_process()) as server:
        assert server.running
        held = footprint(server.pid)
        assert held.resident_mib > 1
        assert held.descriptors >= 3
        assert held.threads == 1
        assert server.metric("name") == 3.0
        assert server.metric("name", 'label="x"') == 2.5
        assert server.metric("other") == 0.0
    assert not server.running
    with pytest.raises(OSError, match="refused"), Client(server.port) as client:
        client.get("/ready")


def test_a_killed_one_starts_again_at_the_same_address():
    with serving(stub_process()) as server:
        first = server.pid
        server.kill()
        assert not server.running
        assert server.start() > 0
        assert server.pid != first
        assert server.answers()


def test_one_that_ends_tells_why():
    server = stub_process("raise SystemExit('no bundle there')")
    with pytest.raises(ValueError, match="no bundle there"), serving(server):
        pass


def test_cores():
    assert pinned(None) == []
    assert pinned(0) in ([], ["taskset", "-c", "0"])
    before = os.sched_getaffinity(0)
    with on_load_core():
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before
