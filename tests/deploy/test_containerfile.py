# The Containerfile, as far as it can be checked without an engine: what it copies, who it runs as, its health check.
from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from dpr_infer.serve.settings import read_settings

DOCKERS_PATIENCE_S = 10  # between the signals that end a container, unless it is told otherwise


@pytest.fixture(scope="module")
def instructions(deploy) -> list[tuple[str, str]]:
    """Names and arguments, in order; continued lines joined."""
    text = (deploy / "Containerfile").read_text(encoding="utf-8")
    text = re.sub(r"^#.*\n", "", text, flags=re.M).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def last_stage(instructions) -> list[tuple[str, str]]:
    start = max(i for i, (name, _) in enumerate(instructions) if name == "FROM")
    return instructions[start:]


def environment_of(instructions) -> dict[str, str]:
    (text,) = [arguments for name, arguments in last_stage(instructions) if name == "ENV"]
    return dict(setting.split("=", 1) for setting in text.split())


def test_what_it_copies_is_there(instructions, root):
    sources = [
        source
        for name, arguments in instructions
        if name == "COPY" and not arguments.startswith("--from")
        for source in arguments.split()[:-1]
    ]
    assert {"python", "csrc", "pyproject.toml"} <= set(sources)
    assert [source for source in sources if not (root / source).exists()] == []


def test_what_it_installs_exists(instructions, root):
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    (install,) = [
        arguments for name, arguments in instructions if name == "RUN" and "pip install" in arguments
    ]
    (extras,) = re.findall(r"'\.\[([\w,]+)\]'", install)
    assert set(extras.split(",")) == {"cpu", "serve", "redis", "otel"}
    assert set(extras.split(",")) <= set(project["project"]["optional-dependencies"])
    (package,) = re.findall(r"wheel\.packages=(\S+)", install)
    assert package in project["tool"]["scikit-build"]["wheel"]["packages"]
    removed = set(re.findall(r"bin/(dpr-\w+)", install))
    scripts = project["project"]["scripts"]
    assert removed == {name for name, target in scripts.items() if not target.startswith("dpr_infer")}


def test_it_is_not_root(instructions):
    user = [arguments for name, arguments in last_stage(instructions) if name == "USER"][-1]
    assert int(user.split(":")[0]) >= 10_000


def test_its_variables_are_settings_that_fit(instructions):
    environment = environment_of(instructions)
    settings = read_settings({}, environment)
    assert settings.host == "0.0.0.0"
    assert settings.drain_s < DOCKERS_PATIENCE_S
    volumes = [arguments for name, arguments in last_stage(instructions) if name == "VOLUME"]
    assert volumes == [os.path.dirname(settings.users)]  # noqa: PTH120 - a path in the image
    assert ("EXPOSE", str(settings.port)) in instructions


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_the_health_check_asks_whether_it_is_ready(status, healthy, instructions):
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    (check,) = [arguments for name, arguments in instructions if name == "HEALTHCHECK"]
    command = json.loads(check.split("CMD", 1)[1])
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.handle_request)
        thread.start()
        environment = {"PATH": os.environ["PATH"], "DPR_PORT": str(server.server_address[1])}
        done = subprocess.run(command, env=environment, capture_output=True)
        thread.join()
    assert (done.returncode == 0) is healthy
    assert asked == ["/v2/health/ready"]
