# Who may call what: API keys, and pages of other origins.

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from dpr_infer.serve.problems import Problem

Headers = Iterable[tuple[bytes, bytes]]

ADMIN_PREFIX = "/v1/admin/"
_GUARDED = ("/v1/", "/v2/models/")
_PREFLIGHT_SECONDS = b"600"
_METHODS = b"GET, POST, PUT, DELETE"
_ASKABLE = b"authorization, content-type, inference-header-content-length, x-admin-key, x-api-key"
_TELLABLE = b"inference-header-content-length, retry-after"


def is_guarded(path: str) -> bool:
    """Tell whether a path is part of the API that needs a key; health, metrics and the page are not."""
    return path.startswith(_GUARDED)


class Keys:
    """Compares keys in a time that tells nothing about them.

    Parameters
    ----------
    api_keys : iterable of str
        Any of these lets a client in; none lets everybody in.
    admin_key : str or None
        Lets a client in to the admin routes.
    """

    def __init__(self, api_keys: Iterable[str], admin_key: str | None) -> None:
        self._api = [_digest(key.encode()) for key in api_keys]
        self._admin = None if admin_key is None else _digest(admin_key.encode())

    def admit(self, path: str, headers: Headers) -> None:
        """Let a request in, or raise Problem 401.

        Parameters
        ----------
        path : str
            Its path.
        headers : iterable of (bytes, bytes)
            Its headers, names in lower case.
        """
        if not self._api or not is_guarded(path):
            return
        shown = [key for name, value in headers if (key := _key_in(name, value)) is not None]
        if sum(self._is_api_key(key) for key in shown):
            return
        if path.startswith(ADMIN_PREFIX) and self.is_admin(headers):
            return
        got = "none" if not shown else "another one"
        raise Problem(
            401,
            "an API key is needed, as Authorization: Bearer KEY or as X-API-Key: KEY; got " + got,
            "key",
            {"WWW-Authenticate": "Bearer"},
        )

    def is_admin(self, headers: Headers) -> bool:
        """Tell whether a request shows the admin key."""
        shown = [value for name, value in headers if name == b"x-admin-key"]
        matches = [
            self._admin is not None and hmac.compare_digest(_digest(key), self._admin) for key in shown
        ]
        return any(matches)

    def has_admin(self) -> bool:
        """Tell whether there is an admin key."""
        return self._admin is not None

    def _is_api_key(self, key: bytes) -> bool:
        digest = _digest(key)
        return sum(hmac.compare_digest(digest, known) for known in self._api) > 0  # every one is compared


def _digest(key: bytes) -> bytes:
    """Of one length, so that comparing does not tell how long a key is."""
    return hashlib.sha256(key).digest()


def _key_in(name: bytes, value: bytes) -> bytes | None:
    if name == b"x-api-key":
        return value.strip()
    if name == b"authorization" and value[:7].lower() == b"bearer ":
        return value[7:].strip()
    return None


class Origins:
    """Which pages of other origins may read answers.

    Parameters
    ----------
    allowed : iterable of str
        Origins such as "https://shop.example", or "*" for all.
    """

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = {origin.rstrip("/").encode() for origin in allowed}
        self._all = b"*" in self._allowed

    def __bool__(self) -> bool:
        return bool(self._allowed)

    def headers_for(self, headers: Headers) -> list[tuple[bytes, bytes]]:
        """Return the headers that let a request's page read its answer; none for a page that may not."""
        origin = next((value for name, value in headers if name == b"origin"), None)
        if self._all:
            return [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", _TELLABLE)]
        if origin not in self._allowed or origin is None:
            return [(b"vary", b"Origin")]
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", _TELLABLE),
            (b"vary", b"Origin"),
        ]

    @staticmethod
    def is_preflight(method: str, headers: Headers) -> bool:
        """Tell whether a browser asks what it may ask."""
        return method == "OPTIONS" and any(name == b"access-control-request-method" for name, _ in headers)

    @staticmethod
    def preflight_headers() -> list[tuple[bytes, bytes]]:
        """Return what a browser is told about the requests that it may send."""
        return [
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", _ASKABLE),
            (b"access-control-max-age", _PREFLIGHT_SECONDS),
        ]
