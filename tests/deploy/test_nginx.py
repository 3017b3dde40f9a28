# The proxy: nginx takes the file, and before two servers it does what the file's comments say.
from __future__ import annotations

import http.client
import os
import re
import socket
import subprocess
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from dpr_infer.serve.settings import Settings

pytestmark = pytest.mark.debian("nginx-light", "/usr/sbin/nginx")
NGINX = "/usr/sbin/nginx"


class Backend(BaseHTTPRequestHandler):
    """Answers with its own port, or 503 if that port is said to be full."""

    full: set[int] = set()  # noqa: RUF012 - tests fill and empty it
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        port = self.server.server_address[1]
        body = str(port).encode()
        self.send_response(503 if port in Backend.full else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST  # noqa: N815

    def log_message(self, *arguments):
        pass


class BySocket(http.client.HTTPConnection):
    """A connection to a socket in the file system."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


@contextmanager
def backend():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("nginx")


def configuration(text: str, folder, ports=(8000, 8001), listen: str | None = None) -> str:
    """What nginx is given: the file within what a machine's own nginx.conf would have around it."""
    for old, new in zip((8000, 8001), ports, strict=True):
        text = text.replace(f"server 127.0.0.1:{old} ", f"server 127.0.0.1:{new} ")
    if listen is not None:
        text = re.sub(r"^    listen 443.*$", f"    listen {listen};", text, flags=re.M)
        text = re.sub(r"^    (listen \[::\]:443|ssl_).*\n", "", text, flags=re.M)
    text = text.replace("/etc/ssl/dpr-serve/", f"{folder}/")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    user = "user root;" if os.getuid() == 0 else ""
    return f"""{user} pid {folder}/pid; error_log {folder}/errors;
        events {{ worker_connections 64; }} http {{ {places}\n{text} }}"""


@pytest.fixture
def proxy(deploy, folder):
    """A function that asks nginx, which runs before two backends, and the backends' ports."""
    Backend.full = set()
    listening = str(folder / "socket")
    with backend() as first, backend() as second:
        text = (deploy / "nginx.conf").read_text(encoding="utf-8")
        path = folder / "nginx.conf"
        path.write_text(configuration(text, folder, (first, second), f"unix:{listening}"), encoding="utf-8")
        command = [NGINX, "-c", str(path), "-e", f"{folder}/errors"]
        subprocess.run(command, check=True, capture_output=True)  # it is listening when this returns

        def ask(method: str, target: str, body: bytes = b"", affinity: str = "somebody") -> tuple[int, str]:
            connection = BySocket(listening)
            connection.request(method, target, body, {"X-Affinity": affinity})
            answer = connection.getresponse()
            content = answer.read().decode()
            connection.close()
            return answer.status, content

        try:
            yield ask, (first, second)
        finally:
            subprocess.run([*command, "-s", "stop"], check=True, capture_output=True)


def test_nginx_takes_the_file_with_tls(deploy, folder):
    files = ["-keyout", str(folder / "privkey.pem"), "-out", str(folder / "fullchain.pem")]
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=localhost",
    ]
    subprocess.run([*command, *files], check=True, capture_output=True)
    path = folder / "tls.conf"
    path.write_text(
        configuration((deploy / "nginx.conf").read_text(encoding="utf-8"), folder), encoding="utf-8"
    )
    done = subprocess.run([NGINX, "-t", "-q", "-c", str(path)], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_one_clients_requests_reach_one_server(proxy):
    ask, ports = proxy
    answers = {
        affinity: {ask("POST", "/v1/sessions/x/turns", affinity=affinity) for _ in range(3)}
        for affinity in map(str, range(20))
    }
    assert all(len(answer) == 1 for answer in answers.values())
    assert {port for answer in answers.values() for _, port in answer} == set(map(str, ports))


@pytest.mark.parametrize("path", ["/v1/recommend", "/v1/users/somebody/events"])
def test_what_may_be_sent_twice_goes_to_the_other_server(path, proxy):
    ask, ports = proxy
    _, used = ask("POST", path)
    Backend.full = {int(used)}
    (other,) = set(ports) - Backend.full
    assert ask("POST", path, b"{}") == (200, str(other))


def test_what_may_not_be_sent_twice_is_not(proxy):
    ask, _ = proxy
    _, used = ask("POST", "/v1/sessions/x/turns")
    Backend.full = {int(used)}
    assert ask("POST", "/v1/sessions/x/turns", b"{}") == (503, used)


@pytest.mark.parametrize("path", ["/v1/admin/reload", "/metrics"])
def test_the_operators_paths_stay_inside(path, proxy):
    ask, _ = proxy
    assert ask("POST", path)[0] == 404


def test_bodies_that_are_too_large_are_the_servers_to_refuse(proxy):
    ask, _ = proxy
    most = Settings(bundle="x").max_body_bytes
    assert ask("POST", "/v1/recommend", b"x" * (most + 1))[0] == 200
    assert ask("POST", "/v1/recommend", b"x" * (2 * most + 1))[0] == 413
