# The model as the Open Inference Protocol sees it: names and types of its tensors, and what clients are told of it.

from __future__ import annotations

from typing import Any

from msgspec import Struct

from dpr_infer.serve.served_model import OpenModel
from dpr_infer.serve.tensors import InputTensor, OutputTensor, Parameters, TensorSpec

SERVER_NAME = "dpr-serve"
EXTENSIONS = ["binary_tensor_data"]

HISTORY = TensorSpec("HISTORY", "BYTES", (-1, -1))
PROMPT = TensorSpec("PROMPT", "BYTES", (-1, 1))
K = TensorSpec("K", "INT32", (1,))
STRENGTH = TensorSpec("STRENGTH", "FP32", (1,))
STEER = TensorSpec("STEER", "BYTES", (1,))
WHERE = TensorSpec("WHERE", "BYTES", (1,))
INPUTS = (HISTORY, PROMPT, K, STRENGTH, STEER, WHERE)

ITEMS = TensorSpec("ITEMS", "BYTES", (-1, -1))
SCORES = TensorSpec("SCORES", "FP32", (-1, -1))
TITLES = TensorSpec("TITLES", "BYTES", (-1, -1))
OUTPUTS = (ITEMS, SCORES, TITLES)
DEFAULT_OUTPUTS = (ITEMS, SCORES)


class RequestedOutput(Struct, kw_only=True, forbid_unknown_fields=True):
    """An output that is asked for; its parameter binary_data says how it is to be sent."""

    name: str
    parameters: Parameters = {}


class InferRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """Histories of B users, one a row of HISTORY, padded with empty texts, and what goes with them.

    HISTORY is BYTES [B, L], item ids, oldest first. Optional: PROMPT, BYTES [B, 1], empty for none; and for all rows K,
    INT32 [1], STRENGTH, FP32 [1], STEER, BYTES [1], "soft" or "strict", and WHERE, BYTES [1]. Parameters:
    binary_data_output, exclude_history, and unknown_items, "error" or "skip".
    """

    inputs: list[InputTensor]
    id: str = ""
    outputs: list[RequestedOutput] = []
    parameters: Parameters = {}


class InferAnswer(Struct, kw_only=True, omit_defaults=True):
    """ITEMS, BYTES [B, k], ids, best first, padded with empty texts; SCORES, FP32 [B, k]; on request TITLES."""

    model_name: str
    model_version: str
    outputs: list[OutputTensor]
    id: str = ""


class TensorDescription(Struct, kw_only=True):
    """A tensor of the model; -1 stands for any size."""

    name: str
    datatype: str
    shape: list[int]


class ModelDescription(Struct, kw_only=True):
    """The model and its tensors."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorDescription]
    outputs: list[TensorDescription]


class ServerDescription(Struct, kw_only=True):
    """The server, and which extensions of the protocol it has."""

    name: str
    version: str
    extensions: list[str]


class InferError(Struct, kw_only=True):
    """What is wrong."""

    error: str


def describe_model(model: OpenModel) -> ModelDescription:
    """Return what clients are told of a model."""
    return ModelDescription(
        name=model.name,
        versions=[model.version],
        platform="dpr-infer",
        inputs=[_describe(spec) for spec in INPUTS],
        outputs=[_describe(spec) for spec in OUTPUTS],
    )


def _describe(spec: TensorSpec) -> Any:
    return TensorDescription(name=spec.name, datatype=spec.datatype, shape=list(spec.shape))
