# Users' ids in paths. They may have slashes, as %2F; ASGI's path has them as slashes like any other, so such a path is
# routed as it came, and the id is decoded behind it.

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from litestar.utils import normalize_path

_USERS = "/v1/users"  # without a slash behind it: an id of slashes alone is nothing in a normalized path


def keep_slashes(scope: Any) -> None:
    """Let a path of a user be routed with the slashes of the id as %2F.

    Parameters
    ----------
    scope : dict
        The request's ASGI scope, its `path` normalized; `path` may change.
    """
    if scope["path"].startswith(_USERS) and _has_slash(scope):
        raw: bytes = scope["raw_path"]
        scope["path"] = normalize_path(raw.partition(b"?")[0].decode("ascii"))


def user_in(scope: Any) -> str:
    """Return the user's id in the path of a request.

    Parameters
    ----------
    scope : dict
        The ASGI scope of a request to a path of a user, as `keep_slashes` left it and routing took it.

    Returns
    -------
    str
        The id, of which nothing is checked.
    """
    user: str = scope["path_params"]["user"]
    return unquote(user) if _has_slash(scope) else user


def _has_slash(scope: Any) -> bool:
    return b"%2f" in scope["raw_path"].lower()
