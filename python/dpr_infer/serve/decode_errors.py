# Says of a body of the wrong shape which field is wrong, what it must be, and what was got.

from __future__ import annotations

import re
from typing import Any, get_args

import msgspec

from dpr_infer.serve.schemas import RecommendOne, Role, UserEvent

_MESSAGE = re.compile(r"^(.*?)(?: - at `(key in )?\$(.*)`)?$", re.DOTALL)
_STEP = re.compile(r"\.([A-Za-z_]\w*)|\[(\d+)\]")
_CHOICES = {"steer": ("soft", "strict"), "unknown_items": ("error", "skip")}
_ENTRIES = {"requests": RecommendOne, "events": UserEvent}
_SHOWN = 60


def explain(error: msgspec.ValidationError, body: bytes, expected: Any) -> str:
    """Return one line for a client.

    Parameters
    ----------
    error : msgspec.ValidationError
        What msgspec says, which has the path and what was expected, and mostly not what was got.
    body : bytes
        The body, which is JSON.
    expected : type
        What it should have been.

    Returns
    -------
    str
        Such as "requests[3].k must be int >= 1; got 0".
    """
    match = _MESSAGE.match(str(error))
    assert match is not None  # the pattern matches every text
    said, in_key, path = match[1], match[2], match[3] or ""
    place = path.removeprefix(".").replace("[...]", "") or "the body"
    if in_key:
        place = f"every key of {place}"
    names = re.findall(r"`([^`]*)`", said)
    if said.startswith("Object contains unknown field"):
        return f"{place} has a field {names[0][:_SHOWN]!r} that is none; there are {_fields(path, expected)}"
    if said.startswith("Object missing required field"):
        return f"{place} must have the field {names[0]!r}; it is missing"
    if said.startswith("Invalid enum value"):
        choices = _CHOICES.get(path.rpartition(".")[2], get_args(Role))
        listed = ", ".join(f'"{choice}"' for choice in choices)
        return f"{place} must be one of {listed}; got {said.removeprefix('Invalid enum value ')[:_SHOWN]}"
    if said.startswith("Expected "):
        wanted = said.removeprefix("Expected ").partition(", got")[0].replace("`", "")
        return f"{place} must be {wanted}{_got(path, body)}"
    return f"{place}: {said[:200]}"


def _fields(path: str, expected: Any) -> str:
    """Return the names of the fields that the object at a path may have."""
    entry = re.fullmatch(r"\.(\w+)\[\d+\]", path)
    struct = _ENTRIES.get(entry[1], expected) if entry else expected
    return ", ".join(struct.__struct_fields__)


def _got(path: str, body: bytes) -> str:
    try:
        value = msgspec.json.decode(body)
        if "[...]" not in path:
            for name, number in _STEP.findall(path):
                value = value[name] if name else value[int(number)]
            return f"; got {_shown(value)}"
    except (LookupError, TypeError, ValueError, RecursionError):
        pass
    return ""


def _shown(value: Any) -> str:
    if isinstance(value, str):
        more = f" of {len(value)} characters" if len(value) > _SHOWN else ""
        return f"{value[:_SHOWN]!r}{more}"
    if isinstance(value, list | dict):
        kind = "a list" if isinstance(value, list) else "an object"
        return f"{kind} of {len(value)}"
    return msgspec.json.encode(value).decode()[:_SHOWN]  # a number, true, false or null
