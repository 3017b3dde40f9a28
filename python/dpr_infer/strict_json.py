# JSON as a reader of untrusted files needs it: nothing ambiguous is accepted, and every complaint names its
# place.

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

from dpr_infer.errors import BundleError

_SURROGATE = re.compile("[\ud800-\udfff]")
# What is beyond these is a bomb: a few MB of brackets become hundreds of MB of objects.
MAX_VALUES = 1_000_000
MAX_DEPTH = 64


def load_object(text: bytes, what: str) -> JsonNode:
    """Parse a JSON document that is an object; everything else is as in `load_value`."""
    node = load_value(text, what)
    node.keys()
    return node


def load_value(text: bytes, what: str) -> JsonNode:
    """Parse a JSON document.

    Parameters
    ----------
    text : bytes
        UTF-8 text.
    what : str
        Name of the document, for messages.

    Returns
    -------
    JsonNode
        What it holds.

    Raises
    ------
    BundleError
        If the text is not UTF-8 or not JSON, holds more than `MAX_VALUES` of the characters ``,`` ``[`` ``{``, nests
        deeper than `MAX_DEPTH`, repeats a key, or holds a lone surrogate, a NaN, an infinity or a number that
        becomes one.
    """
    # Counted before anything is made of the text: each value but the outermost stands behind one of these.
    if sum(map(text.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise BundleError(f"{what} must have at most {MAX_VALUES} values; it has more")
    try:
        value = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_unique_keys,
            parse_constant=_refuse_constant,
            parse_float=_finite_float,
        )
    except RecursionError:
        raise BundleError(f"{what} must be a flat JSON document; it nests too deeply") from None
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError are both ValueErrors
        raise BundleError(f"{what} must be UTF-8 JSON: {error}") from None
    _check_values(value, what)
    return JsonNode(value, what)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"key {twice[:100]!r} appears twice in one object")
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _finite_float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:50]} is larger than any number")
    return value


def _check_values(document: Any, what: str) -> None:
    """Refuse what Python takes and other readers do not: depth without end, and halves of characters."""
    level: list[Any] = [[document]]
    for _ in range(MAX_DEPTH + 1):
        inner = [value for container in level for value in _values(container)]
        texts = [value for value in inner if isinstance(value, str)]
        texts += (key for container in level if isinstance(container, dict) for key in container)
        if any(map(_has_lone_surrogate, texts)):
            raise BundleError(f"{what} must be UTF-8 JSON: it holds half a character, a lone surrogate")
        level = [value for value in inner if isinstance(value, dict | list)]
        if not level:
            return
    raise BundleError(f"{what} must be a flat JSON document; it nests too deeply")


def _values(container: Any) -> Iterable[Any]:
    return container.values() if isinstance(container, dict) else container


def _has_lone_surrogate(text: str) -> bool:
    # Whatever is ASCII, as nearly all is, is known to Python to be so without looking.
    return not text.isascii() and _SURROGATE.search(text) is not None


class JsonNode:
    """A JSON value together with its place in the document.

    Parameters
    ----------
    value : object
        What the json module made of it.
    place : str
        Where it stands, for messages.
    """

    __slots__ = ("place", "value")

    def __init__(self, value: Any, place: str) -> None:
        self.value = value
        self.place = place

    def fail(self, expected: str) -> NoReturn:
        """Raise BundleError saying what was expected here and what is there."""
        got = repr(self.value)
        raise BundleError(
            f"{self.place} must be {expected}; got {got if len(got) <= 80 else got[:77] + '...'}"
        )

    def keys(self) -> list[str]:
        """Return the keys of an object, in order."""
        if not isinstance(self.value, dict):
            self.fail("an object")
        return list(self.value)

    def __getitem__(self, key: str) -> JsonNode:
        if key not in self.keys():
            raise BundleError(
                f"{self.place} must have the key {key!r}; it has {', '.join(self.keys())[:200] or 'none'}"
            )
        return JsonNode(self.value[key], f"{self.place}: {key}")

    def elements(self) -> Iterator[JsonNode]:
        """Return the elements of an array."""
        if not isinstance(self.value, list):
            self.fail("an array")
        return (JsonNode(value, f"{self.place}[{i}]") for i, value in enumerate(self.value))

    def string(self) -> str:
        """Return a string that is not empty."""
        if not isinstance(self.value, str) or not self.value:
            self.fail("a string that is not empty")
        return str(self.value)

    def one_of(self, *choices: str) -> str:
        """Return a string out of some."""
        if self.value not in choices or not isinstance(self.value, str):
            self.fail("one of " + ", ".join(repr(choice) for choice in choices))
        return str(self.value)

    def boolean(self) -> bool:
        """Return true or false."""
        if not isinstance(self.value, bool):
            self.fail("true or false")
        return bool(self.value)

    def integer(self, low: int, high: int) -> int:
        """Return an integer from low to high, both included."""
        if not isinstance(self.value, int) or isinstance(self.value, bool) or not low <= self.value <= high:
            self.fail(f"an integer from {low} to {high}")
        return int(self.value)

    def number(self, low: float, high: float) -> float:
        """Return a finite number from low to high, both included."""
        if not isinstance(self.value, int | float) or isinstance(self.value, bool):
            self.fail("a number")
        if not low <= self.value <= high or not math.isfinite(self.value):
            self.fail(f"a finite number from {low} to {high}")
        return float(self.value)
