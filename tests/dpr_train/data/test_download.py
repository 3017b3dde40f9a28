# Official archives, from a server that the test runs on this machine.

import functools
import hashlib
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dpr_train.data import FetchError
from dpr_train.data.download import download

CONTENT = b"the archive"
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Keep requests out of the tests' output."""


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve a folder with set.zip; a proxy of this machine's is bypassed."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    served = tmp_path / "served"
    served.mkdir()
    (served / "set.zip").write_bytes(CONTENT)
    with ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(QuietHandler, directory=str(served))
    ) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_downloads_once(address: str, tmp_path: Path) -> None:
    path = download(f"{address}/set.zip", MD5, tmp_path / "cache")
    assert path == tmp_path / "cache" / "set.zip"
    assert path.read_bytes() == CONTENT
    (tmp_path / "served" / "set.zip").unlink()
    assert download(f"{address}/set.zip", MD5, tmp_path / "cache") == path


def test_another_checksum(address: str, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=f"expected an archive with md5 {'0' * 32}.*{MD5}"):
        download(f"{address}/set.zip", "0" * 32, tmp_path / "cache")
    assert not (tmp_path / "cache" / "set.zip").exists()


def test_no_such_archive(address: str, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=r"cannot download .*other\.zip \(source= takes the path"):
        download(f"{address}/other.zip", MD5, tmp_path / "cache")


def test_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(FetchError, match="cannot download"):
        download("http://127.0.0.1:9/set.zip", MD5, tmp_path)
