# A server with a tiny bundle, Debian's Chromium, and a page that must not raise, warn, or load from elsewhere.
# Browsers stop with their module: Playwright's event loop would be in the way of other tests of the process.

from __future__ import annotations

import json
import shutil
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

import tiny_bundle

_ARGUMENTS = [
    "--no-sandbox",
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_WAIT_MS = 20_000
_READY_S = 60
# What Chromium writes about answers of 4xx and 5xx, which tests ask for.
_EXPECTED = "Failed to load resource"

Serve = Callable[..., AbstractContextManager[str]]


class Api:
    """The server's API as the tests ask it, past the page."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return json.load(answer)

    def examples(self) -> list[dict[str, Any]]:
        return self.get("v1/examples")["examples"]

    def recommend(self, prompt: Any = None, example: int = 0, **options: Any) -> dict[str, Any]:
        history = [item["id"] for item in self.examples()[example]["items"]]
        body = {"history": history, "prompt": prompt, "k": 10, "explain": True, **options}
        request = urllib.request.Request(
            self.url + "v1/recommend", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)


@contextmanager
def _serving(bundle: Path, **settings: Any) -> Iterator[str]:
    import uvicorn

    from dpr_infer.serve.app import build_app
    from dpr_infer.serve.settings import Settings

    app = build_app(Settings(bundle=str(bundle), users="none", **settings))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="on", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield _url_when_ready(server, thread)
    finally:
        server.should_exit = True
        thread.join(timeout=_READY_S)


def _url_when_ready(server: Any, thread: threading.Thread) -> str:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline and thread.is_alive():
        if server.started and server.servers[0].sockets:
            url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
            try:
                with urllib.request.urlopen(url + "v2/health/ready", timeout=10):
                    return url
            except urllib.error.HTTPError as error:
                error.close()
        time.sleep(0.01)
    raise AssertionError("the server did not become ready")


@pytest.fixture(scope="session")
def page_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny bundle with more items than a list shows."""
    return tiny_bundle.write_tiny_bundle(tmp_path_factory.mktemp("page") / "films", items=90, gain=3.0)


@pytest.fixture(scope="session")
def serve(page_bundle: Path) -> Serve:
    """Start a server of that bundle with other settings; it gives its address."""
    return lambda **settings: _serving(page_bundle, **settings)


@pytest.fixture(scope="module")
def server(serve: Serve) -> Iterator[str]:
    """Address of the server, with a slash at its end."""
    with serve() as url:
        yield url


@pytest.fixture(scope="module")
def api(server: str) -> Api:
    return Api(server)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=_WAIT_MS)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=_ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def new_page(browser: Any, server: str) -> Iterator[Callable[..., Any]]:
    """Open a tab of its own; keyword arguments are those of a Playwright context."""
    contexts = []
    faults: list[str] = []

    def open_page(**options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        context.set_default_timeout(_WAIT_MS)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(f"raised {error}"))
        page.on("console", lambda line: faults.append(line.text) if _is_fault(line) else None)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


def _is_fault(line: Any) -> bool:
    return line.type in ("error", "warning") and not line.text.startswith(_EXPECTED)


@pytest.fixture
def page(new_page: Callable[..., Any], server: str) -> Any:
    """The page, open, with its first lists."""
    tab = new_page()
    tab.goto(server)
    tab.wait_for_selector(".steered .row:not(.blank)")
    return tab


@pytest.fixture
def say() -> Callable[[Any, str], dict[str, Any]]:
    """Type a prompt, press Enter, and give the answer that came."""

    def type_and_send(page: Any, text: str) -> dict[str, Any]:
        page.get_by_label("Say what you want").fill(text)
        with page.expect_response("**/v1/recommend") as answer:
            page.keyboard.press("Enter")
        return answer.value.json()

    return type_and_send
