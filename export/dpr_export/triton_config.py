# What Triton Inference Server is told about each model: config.pbtxt, as its model_config.proto has it.
"""Configurations of Triton models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dpr_infer.graph_contract import contract
from dpr_infer.manifest import Manifest

__all__ = ["FRONT", "front_config", "graph_config", "graph_model"]

FRONT = "dpr_recommender"

_TYPES = {"int64": "TYPE_INT64", "float32": "TYPE_FP32"}
_QUEUE_DELAY_US = 300


@dataclass(frozen=True)
class _Name:
    """A name of the schema's own, which is written without quotes."""

    name: str


_Value = str | int | bool | _Name | Mapping[str, "_Value"] | Sequence["_Value"]


def graph_model(graph: str) -> str:
    """Name of the model that runs a graph."""
    return f"dpr_{graph}"


def graph_config(manifest: Manifest, graph: str) -> str:
    """Text of config.pbtxt for one of the graphs, run by Triton's onnxruntime backend.

    Batches are made in front of the graphs, where prompts are cached and lengths are known: for Triton, a graph has no
    batch dimension of its own. Some inputs are shared by all queries and could not have one.
    """
    inputs, outputs = contract(manifest.dims, manifest.format_version)[graph]
    fields: dict[str, _Value] = {
        "name": graph_model(graph),
        "backend": "onnxruntime",
        "max_batch_size": 0,
        "input": [_tensor(name, *port) for name, port in inputs.items()],
        "output": [_tensor(name, *port) for name, port in outputs.items()],
        "instance_group": [{"count": 1, "kind": _Name("KIND_AUTO")}],
        # A thread an instance: Triton runs several calls side by side.
        "parameters": [_parameter("intra_op_thread_count", "1"), _parameter("inter_op_thread_count", "1")],
    }
    return _text(fields)


def front_config(max_batch: int) -> str:
    """Text of config.pbtxt for the model that answers queries, run by Triton's Python backend.

    Its tensors are those of dpr-serve, but for options, which are said for each row.
    """
    text, rows = _Name("TYPE_STRING"), [-1]
    optional = {"PROMPT": text, "K": _Name("TYPE_INT32"), "STRENGTH": _Name("TYPE_FP32")}
    optional |= {"STEER": text, "WHERE": text}
    fields: dict[str, _Value] = {
        "name": FRONT,
        "backend": "python",
        "max_batch_size": max_batch,
        "input": [
            # Histories of different lengths may share a batch: each request keeps its own tensor.
            {"name": "HISTORY", "data_type": text, "dims": rows, "allow_ragged_batch": True},
            *(
                {"name": name, "data_type": dtype, "dims": [1], "optional": True}
                for name, dtype in optional.items()
            ),
        ],
        "output": [
            {"name": "ITEMS", "data_type": text, "dims": rows},
            {"name": "SCORES", "data_type": _Name("TYPE_FP32"), "dims": rows},
            {"name": "TITLES", "data_type": text, "dims": rows},
        ],
        "dynamic_batching": {"max_queue_delay_microseconds": _QUEUE_DELAY_US},
        "instance_group": [{"count": 1, "kind": _Name("KIND_CPU")}],
        "parameters": [_parameter("threads", "1"), _parameter("prompt_cache_size", "1024")],
    }
    return _text(fields)


def _tensor(name: str, dtype: str, shape: Sequence[int | str]) -> dict[str, _Value]:
    dims = [-1 if isinstance(d, str) else d for d in shape]
    return {"name": name, "data_type": _Name(_TYPES[dtype]), "dims": dims}


def _parameter(key: str, value: str) -> dict[str, _Value]:
    return {"key": key, "value": {"string_value": value}}


def _text(fields: Mapping[str, _Value], indent: str = "") -> str:
    """Write a message in protobuf's text format."""
    return "".join(_field(name, value, indent) for name, value in fields.items())


def _field(name: str, value: _Value, indent: str) -> str:
    if isinstance(value, Mapping):
        return f"{indent}{name} {{\n{_text(value, indent + '  ')}{indent}}}\n"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "".join(_field(name, entry, indent) for entry in value)
    return f"{indent}{name}: {_scalar(value)}\n"


def _scalar(value: str | int | bool | _Name) -> str:
    if isinstance(value, _Name):
        return value.name
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
