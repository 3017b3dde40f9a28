# Reads bodies and query strings; what cannot be read is a problem that names the place, what was expected and what
# was got.

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from litestar import Request

from dpr_infer.serve.decode_errors import explain
from dpr_infer.serve.problems import Problem, wrong
from dpr_infer.serve.replies import JSON

T = TypeVar("T")
AnyRequest = Request[Any, Any, Any]

_SHOWN = 60


async def read_json(request: AnyRequest, decoder: msgspec.json.Decoder[T]) -> T:
    """Read a JSON body.

    Parameters
    ----------
    request : Request
        The request.
    decoder : msgspec.json.Decoder
        Of the type that is expected.

    Returns
    -------
    T
        What the body says.

    Raises
    ------
    Problem
        415 if it is not declared to be JSON, 400 if it is none, 422 if it is JSON of another shape.
    """
    _require_json(request)
    body = await read_body(request)
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise wrong(explain(error, body, decoder.type)) from None
    except RecursionError:
        raise Problem(400, "the body must be JSON that does not nest this deep") from None
    except ValueError as error:  # msgspec.DecodeError, UnicodeDecodeError
        raise Problem(400, f"the body must be JSON in UTF-8; {_reason(error, body)}") from None


def _header(request: AnyRequest, name: bytes) -> str:
    """Return a header, or "". Litestar would sort all of them into a mapping first, which takes longer."""
    return next((value.decode("latin-1") for key, value in request.scope["headers"] if key == name), "")


async def read_body(request: AnyRequest) -> bytes:
    """Return the whole body, or raise Problem 413 as soon as it gets longer than the server takes.

    Parameters
    ----------
    request : Request
        A request whose body was not read.

    Returns
    -------
    bytes
        The body.
    """
    most = request.app.state.services.settings.max_body_bytes
    announced = _header(request, b"content-length")
    pieces, size = [], int(announced) if announced.isdecimal() else 0
    if size <= most:
        size = 0
        while size <= most:
            message: Any = await request.receive()
            if message["type"] == "http.disconnect":
                raise Problem(400, "the connection was closed before the end of the body")
            pieces.append(message["body"])
            size += len(message["body"])
            if not message["more_body"]:
                return b"".join(pieces)
    raise Problem(413, f"the body must have at most {most} bytes; got {size} or more")


def _require_json(request: AnyRequest) -> None:
    given = _header(request, b"content-type")
    if given == JSON:
        return
    media, _, parameters = given.partition(";")
    charset = parameters.lower().replace(" ", "").replace('"', "")
    if media.strip().lower() != JSON or charset not in ("", "charset=utf-8"):
        shown = repr(given[:_SHOWN]) if given else "none"
        raise Problem(415, f"Content-Type must be {JSON}, in UTF-8; got {shown}")


def _reason(error: ValueError, body: bytes) -> str:
    if not body:
        return "it is empty"
    if isinstance(error, UnicodeDecodeError):
        return "it is not valid UTF-8"
    return str(error).removeprefix("JSON is malformed: ")


def query_text(request: AnyRequest, name: str, most: int) -> str:
    """Return a parameter of the query string that has to be there, of at most `most` characters; Problem if not."""
    values = request.query_params.getall(name, [])
    if len(values) != 1:
        raise wrong(f"{name} must be given once in the query string; got it {len(values)} times")
    value = str(values[0])
    if len(value) > most:
        raise wrong(f"{name} must have at most {most} characters; got {len(value)}")
    return value


def query_number(request: AnyRequest, name: str, default: int, most: int) -> int:
    """Return a parameter of the query string that is a number from 1 to `most`; Problem if it is not."""
    values = request.query_params.getall(name, [])
    if not values:
        return default
    text = str(values[-1])
    if len(values) > 1 or not (
        text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= most
    ):
        raise wrong(f"{name} must be an integer from 1 to {most}; got {text[:_SHOWN]!r}")
    return int(text)
