# The smallest client that measurements need: one connection that stays open, and JSON.
"""Ask a server on 127.0.0.1."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from types import TracebackType
from typing import Any

__all__ = ["Client", "Reply"]

_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: its status, its body, and the seconds that it took."""

    status: int
    body: bytes
    seconds: float
    headers: Mapping[str, str]

    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)


class Client:
    """One connection to a server. A closed one is opened again by the next call; failures raise OSError.

    Parameters
    ----------
    port : int
        Of 127.0.0.1.
    patience : float
        Seconds to wait for an answer.
    headers : mapping, optional
        Sent with every request.
    """

    def __init__(
        self, port: int, *, patience: float = 30.0, headers: Mapping[str, str] | None = None
    ) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=patience)
        self._headers = dict(headers or {})

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def get(self, path: str) -> Reply:
        """GET a path."""
        return self.send("GET", path)

    def post(self, path: str, document: object) -> Reply:
        """POST a document as JSON."""
        return self.send("POST", path, json.dumps(document).encode())

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Send a request as it is and wait for the answer.

        Raises
        ------
        OSError
            If the connection fails, or the answer is no HTTP.
        """
        begun = perf_counter()
        sent = (_JSON if body is not None else {}) | self._headers | dict(headers or {})
        try:
            self._connection.request(method, path, body, sent)
            answer = self._connection.getresponse()
            content = answer.read()
        except http.client.HTTPException as error:
            self._connection.close()
            raise ConnectionError(f"no answer from {method} {path}: {error!r}") from error
        except OSError:
            self._connection.close()
            raise
        return Reply(answer.status, content, perf_counter() - begun, dict(answer.getheaders()))
