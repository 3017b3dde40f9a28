# Servers in this process that the tests of the API share.

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from dpr_infer.serve.app import build_app
from dpr_infer.serve.services import Services
from dpr_infer.serve.settings import Settings

Client = TestClient[Litestar]
MakeClient = Callable[..., Client]


def services(client: Client) -> Services:
    """The parts of a client's server."""
    found: Services = client.app.state.services
    return found


def wait_until_settled(client: Client) -> None:
    """Wait until the server is warm, or has failed to become so."""
    client.blocking_portal.call(services(client).readiness.settled.wait)


@pytest.fixture(scope="session")
def client(bundle_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A warm server with default settings. What tests leave in it concerns their own users and sessions alone."""
    users = tmp_path_factory.mktemp("users") / "users.sqlite"
    settings = Settings(bundle=str(bundle_path), users=str(users), max_batch=4)
    with TestClient(build_app(settings)) as started:
        wait_until_settled(started)
        yield started


@pytest.fixture
def make_client(bundle_path: Path) -> Iterator[MakeClient]:
    """Makes servers of other settings, warm unless `warm=False`."""
    with ExitStack() as stack:

        def make(*, warm: bool = True, **settings: Any) -> Client:
            options = {"bundle": str(bundle_path), "users": "none", "max_batch": 2} | settings
            started = stack.enter_context(TestClient(build_app(Settings(**options))))
            if warm:
                wait_until_settled(started)
            return started

        yield make
