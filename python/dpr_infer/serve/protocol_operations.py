# The rows of the Open Inference Protocol in the description of the API; health is among the others.

from __future__ import annotations

from dpr_infer.serve import inference_model as protocol
from dpr_infer.serve.operations import Operation, Parameter


def _in_path(name: str, text: str) -> Parameter:
    schema = {"type": "string", "minLength": 1, "maxLength": 100}
    return {"name": name, "in": "path", "required": True, "description": text, "schema": schema}


_NAME = _in_path("model_name", "The model's name, as GET /v1/model tells it.")
_VERSION = _in_path("version", "The model's version.")
_MODEL = "/v2/models/{model_name}"
_LENGTH: Parameter = {
    "name": "Inference-Header-Content-Length",
    "in": "header",
    "required": False,
    "description": "Length of the JSON in bytes, where bytes of tensors stand behind it.",
    "schema": {"type": "integer", "minimum": 0},
}


def _of_model(path: str, of_version: str, parameters: tuple[Parameter, ...]) -> tuple[Operation, ...]:
    return (
        Operation(
            method="get",
            path=path,
            name=f"describe{of_version}",
            summary="Say what the model's tensors are.",
            tag="inference protocol",
            answers=(protocol.ModelDescription,),
            parameters=parameters,
            fails=(404,),
            error=protocol.InferError,
        ),
        Operation(
            method="get",
            path=f"{path}/ready",
            name=f"is_model_ready{of_version}",
            summary="Tell whether the model answers.",
            tag="inference protocol",
            outcome="It does.",
            parameters=parameters,
            fails=(404,),
            error=protocol.InferError,
        ),
        Operation(
            method="post",
            path=f"{path}/infer",
            name=f"infer{of_version}",
            summary="Recommend items for each row of a tensor; as JSON, or with bytes of tensors behind it.",
            tag="inference protocol",
            body=protocol.InferRequest,
            answers=(protocol.InferAnswer,),
            parameters=(*parameters, _LENGTH),
            fails=(404,),
            error=protocol.InferError,
        ),
    )


PROTOCOL_OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="get",
        path="/v2",
        name="describe_server",
        summary="Say what the server is, and which extensions of the protocol it has.",
        tag="inference protocol",
        answers=(protocol.ServerDescription,),
        guarded=False,
    ),
    *_of_model(_MODEL, "", (_NAME,)),
    *_of_model(_MODEL + "/versions/{version}", "_version", (_NAME, _VERSION)),
)
