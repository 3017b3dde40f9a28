# Calls of the Open Inference Protocol: bytes to queries, and recommendations to bytes.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from dpr_infer.serve import inference_model as model_tensors
from dpr_infer.serve.checks import check_answer_size, check_one
from dpr_infer.serve.decode_errors import explain
from dpr_infer.serve.inference_model import InferAnswer, InferRequest
from dpr_infer.serve.problems import wrong
from dpr_infer.serve.query import Query
from dpr_infer.serve.replies import Reply
from dpr_infer.serve.schemas import RecommendOne
from dpr_infer.serve.served_model import OpenModel
from dpr_infer.serve.settings import Settings
from dpr_infer.serve.tensors import TensorSpec, bad, binary_tensor, json_tensor, read_tensors
from dpr_infer.types import Recommendation

HEADER_LENGTH = "Inference-Header-Content-Length"
OCTETS = "application/octet-stream"

_PARAMETERS = ("binary_data_output", "exclude_history", "unknown_items")
_SHOWN = 60

_decode = msgspec.json.Decoder(InferRequest).decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class InferCall:
    """A call that was understood.

    Attributes
    ----------
    id : str
        The client's name for it; empty for none.
    requests : list of RecommendOne
        One a row of HISTORY.
    k : int
        Columns of the outputs.
    outputs : list of (TensorSpec, bool)
        What is asked for, and whether as bytes behind the JSON.
    """

    id: str
    requests: list[RecommendOne]
    k: int
    outputs: list[tuple[TensorSpec, bool]]


def read_call(body: bytes, header_length: str | None, most_rows: int) -> InferCall:
    """Read a call.

    Parameters
    ----------
    body : bytes
        JSON and, behind it, bytes of tensors.
    header_length : str or None
        Length of the JSON in bytes, as its header has it; None if there is nothing else.
    most_rows : int
        Most rows of HISTORY.

    Returns
    -------
    InferCall
        The call.

    Raises
    ------
    Problem
        400 if it is not of the protocol, 422 if it asks for what can't be answered.
    """
    size = _json_size(header_length, len(body))
    head = body[:size]
    try:
        request = _decode(head)
    except msgspec.ValidationError as error:
        raise bad(explain(error, head, InferRequest)) from None
    except (ValueError, RecursionError) as error:
        raise bad(f"the body must begin with JSON in UTF-8, {size} bytes; {_reason(error)}") from None
    _check_parameters(request)
    tensors = read_tensors(request.inputs, memoryview(body)[size:], model_tensors.INPUTS)
    if "HISTORY" not in tensors:
        raise bad("inputs must have HISTORY; it is missing")
    requests = _requests(tensors, request, most_rows)
    check_answer_size(requests)
    return InferCall(request.id, requests, requests[0].k, _outputs(request))


def _json_size(header_length: str | None, body: int) -> int:
    if header_length is None:
        return body
    if not (header_length.isascii() and header_length.isdecimal() and len(header_length) < 20):
        raise bad(f"{HEADER_LENGTH} must be a number of bytes; got {header_length[:_SHOWN]!r}")
    if int(header_length) > body:
        raise bad(f"{HEADER_LENGTH} must be at most the body's length, {body} bytes; got {header_length}")
    return int(header_length)


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not valid UTF-8"
    if isinstance(error, RecursionError):
        return "it nests too deep"
    return str(error).removeprefix("JSON is malformed: ")[:200]


def _check_parameters(request: InferRequest) -> None:
    others = request.parameters.keys() - set(_PARAMETERS)
    if others:
        raise bad(f"parameters must be of {', '.join(_PARAMETERS)}; got {min(others)[:_SHOWN]!r}")
    for name in ("binary_data_output", "exclude_history"):
        _flag(request.parameters, name, "the request", default=True)


def _flag(parameters: Any, name: str, of: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise bad(f"{name} of {of} must be true or false; got {value!r:.60}")
    return value


def _requests(tensors: dict[str, Any], request: InferRequest, most_rows: int) -> list[RecommendOne]:
    (rows, columns), ids = tensors["HISTORY"]
    if not 1 <= rows <= most_rows:
        raise wrong(f"HISTORY must have from 1 to {most_rows} rows, this server's limit; got {rows}")
    (prompts, _), texts = tensors.get("PROMPT", ((rows, 1), [""] * rows))
    if prompts != rows:
        raise bad(f"PROMPT must have as many rows as HISTORY, {rows}; got {prompts}")
    shared = {
        name: tensors[tensor][1][0]
        for name, tensor in (("k", "K"), ("strength", "STRENGTH"), ("steer", "STEER"), ("where", "WHERE"))
        if tensor in tensors
    }
    shared |= {name: value for name, value in request.parameters.items() if name != "binary_data_output"}
    made = []
    for row in range(rows):
        history = [item for item in ids[row * columns : (row + 1) * columns] if item]
        made.append(_one(shared | {"history": history, "prompt": texts[row] or None}, row))
    return made


def _one(fields: dict[str, Any], row: int) -> RecommendOne:
    """Hold a row to what the HTTP API holds its requests to."""
    try:
        return msgspec.convert(fields, RecommendOne)
    except msgspec.ValidationError as error:
        shown = msgspec.json.encode(fields)
        raise wrong(f"row {row}: {explain(error, shown, RecommendOne)}") from None


def _outputs(request: InferRequest) -> list[tuple[TensorSpec, bool]]:
    binary = _flag(request.parameters, "binary_data_output", "the request", default=False)
    if not request.outputs:
        return [(spec, binary) for spec in model_tensors.DEFAULT_OUTPUTS]
    known = {spec.name: spec for spec in model_tensors.OUTPUTS}
    asked: dict[str, tuple[TensorSpec, bool]] = {}
    for output in request.outputs:
        spec = known.get(output.name)
        if spec is None or output.name in asked:
            names = ", ".join(known)
            raise bad(f"outputs must be of {names}, each once at most; got {output.name[:_SHOWN]!r}")
        others = output.parameters.keys() - {"binary_data"}
        if others:
            raise bad(
                f"output {output.name} may have the parameter binary_data; got {min(others)[:_SHOWN]!r}"
            )
        asked[output.name] = spec, _flag(output.parameters, "binary_data", output.name, default=binary)
    return list(asked.values())


def queries_of(call: InferCall, model: OpenModel, settings: Settings) -> list[Query]:
    """Return the queries of a call, or raise Problem 422, naming the row."""
    return [
        query
        for row, request in enumerate(call.requests)
        for query in check_one(request, model, settings.max_k, None, f"row {row}: ")
    ]


def write_answer(call: InferCall, model: OpenModel, found: Sequence[Recommendation]) -> Reply:
    """Return the answer to a call.

    Parameters
    ----------
    call : InferCall
        The call.
    model : OpenModel
        The model that answered.
    found : sequence of Recommendation
        One a row.

    Returns
    -------
    Reply
        JSON, and bytes behind it where they were asked for.
    """
    shape = (len(found), call.k)
    tensors, contents = [], []
    for spec, binary in call.outputs:
        values = [value for answer in found for value in _padded(spec, answer, call.k)]
        if binary:
            tensor, content = binary_tensor(spec, shape, values)
            contents.append(content)
        else:
            tensor = json_tensor(spec, shape, values)
        tensors.append(tensor)
    head = _encode(
        InferAnswer(model_name=model.name, model_version=model.version, outputs=tensors, id=call.id)
    )
    if not contents:
        return Reply(head)
    headers = {HEADER_LENGTH: str(len(head))}
    return Reply(b"".join([head, *contents]), media_type=OCTETS, headers=headers)


def _padded(spec: TensorSpec, answer: Recommendation, k: int) -> list[Any]:
    missing = k - len(answer.items)
    if spec is model_tensors.SCORES:
        return [*answer.scores.tolist(), *[float("-inf")] * missing]
    texts = answer.items if spec is model_tensors.ITEMS else answer.titles
    return [*texts, *[""] * missing]
