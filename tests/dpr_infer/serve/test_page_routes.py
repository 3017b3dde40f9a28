# The page's files: right types, nothing from elsewhere, asked for again only if they changed.

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import resources

import pytest
from litestar import Litestar
from litestar.testing import TestClient

Client = TestClient[Litestar]
MakeClient = Callable[..., Client]
FOLDER = resources.files("dpr_infer.serve") / "page"


@pytest.mark.parametrize(
    ("path", "file", "media_type"),
    [
        ("/", "index.html", "text/html; charset=utf-8"),
        ("/docs", "docs.html", "text/html; charset=utf-8"),
        ("/static/app.js", "app.js", "text/javascript; charset=utf-8"),
        ("/static/tokens.css", "tokens.css", "text/css; charset=utf-8"),
        ("/static/icon.svg", "icon.svg", "image/svg+xml"),
    ],
)
def test_a_file(client: Client, path: str, file: str, media_type: str):
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.content == (FOLDER / file).read_bytes()
    assert answer.headers["content-type"] == media_type
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "require-trusted-types-for 'script'" in policy
    assert "frame-ancestors 'none'" in policy


def test_a_file_that_is_known_is_not_sent_again(client: Client):
    first = client.get("/static/app.js")
    tag = first.headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = client.get("/static/app.js", headers={"If-None-Match": known})
        assert again.status_code == 304
        assert again.content == b""
        assert again.headers["etag"] == tag
    assert client.get("/static/app.js", headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize("name", ["none.js", "../app.py", "..%2fapp.py", "%2e%2e/app.py", "/etc/passwd", ""])
def test_nothing_else_is_served(client: Client, name: str):
    assert client.get(f"/static/{name}").status_code == 404


@pytest.mark.parametrize("page", ["index.html", "docs.html"])
def test_pages_load_only_files_that_are_served(client: Client, page: str):
    text = (FOLDER / page).read_text(encoding="utf-8")
    loaded = re.findall(r'(?:src|href)="([^"#]+)"', text)
    assert loaded
    for address in loaded:
        assert "//" not in address
        assert client.get("/" + address.removeprefix("./")).status_code == 200
    assert not re.search(r"<style|\son\w+=|\sstyle=|<script>", text)  # the policy forbids all of them


def test_the_page_can_be_left_out(make_client: MakeClient):
    client = make_client(no_page=True)
    assert client.get("/").status_code == 404
    assert client.get("/docs").status_code == 200
