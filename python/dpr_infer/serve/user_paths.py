# Users' ids in paths. They may have slashes, as %2F; ASGI's path has them as slashes like any other, so such a path is
# routed as it came, and the id is taken from there.

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

_USERS = "/v1/users/"
_PLACE = 3  # of the id, between slashes: "", "v1", "users", id


def keep_slashes(scope: Any) -> None:
    """Let a path of a user be routed with the slashes of the id as %2F.

    Parameters
    ----------
    scope : dict
        The request's ASGI scope; `path` may change.
    """
    if scope["path"].startswith(_USERS) and b"%2f" in scope["raw_path"].lower():
        scope["path"] = _raw(scope)


def user_in(scope: Any) -> str:
    """Return the user's id in the path of a request.

    Parameters
    ----------
    scope : dict
        The ASGI scope of a request to a path of a user.

    Returns
    -------
    str
        The id, of which nothing is checked.
    """
    return unquote(_raw(scope).split("/")[_PLACE])


def _raw(scope: Any) -> str:
    path: bytes = scope["raw_path"]
    return path.partition(b"?")[0].decode("ascii")
