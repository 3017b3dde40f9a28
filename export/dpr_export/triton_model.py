# Triton's Python backend runs this file: it answers queries with dpr_infer, whose graphs are models of the same
# repository, and whose catalogue is searched here. dpr-export --triton writes a copy of it.
"""The model dpr_recommender of a Triton model repository."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]
from numpy.typing import NDArray

from dpr_infer import DprError, EngineError, Query, Recommendation, Recommender
from dpr_infer.graph_contract import contract
from dpr_infer.manifest import Manifest

_DEFAULT_K = 10


class GraphModel:
    """A graph of the bundle, run by the model of that name; `dpr_infer.engine.Engine` says what is promised."""

    on_cpu = False  # one call for all is best, wherever the other model runs

    def __init__(self, _folder: Path, manifest: Manifest, graph: str) -> None:
        self._model = f"dpr_{graph}"
        self._outputs = list(contract(manifest.dims, manifest.format_version)[graph][1])
        self.providers = (f"Triton {self._model}",)

    def run(self, feed: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Call the model. Raises EngineError if it fails."""
        request = pb_utils.InferenceRequest(
            model_name=self._model,
            requested_output_names=self._outputs,
            inputs=[pb_utils.Tensor(name, array) for name, array in feed.items()],
            preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0),
        )
        response = request.exec()
        if response.has_error():
            raise EngineError(f"{self._model} failed to run: {response.error().message()}")
        found = [pb_utils.get_output_tensor_by_name(response, name) for name in self._outputs]
        return [np.array(tensor.as_numpy()) for tensor in found]  # Triton's memory goes with the response


class TritonPythonModel:
    """What the Python backend looks for."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the bundle that lies beside this file."""
        parameters = json.loads(args["model_config"])["parameters"]
        self._recommender = Recommender(
            Path(__file__).parent / "bundle",
            engine=GraphModel,
            threads=int(parameters["threads"]["string_value"]),
            prompt_cache_size=int(parameters["prompt_cache_size"]["string_value"]),
        )

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer requests, all of their rows in one batch. What is wrong with one of them concerns it alone."""
        rows = [_queries(request) for request in requests]
        found = iter(self._recommender.query_each([query for queries in rows for query in queries]))
        answers = [[next(found) for _ in queries] for queries in rows]
        return [_response(request, answer) for request, answer in zip(requests, answers, strict=True)]


def _queries(request: Any) -> list[Query]:
    histories = pb_utils.get_input_tensor_by_name(request, "HISTORY").as_numpy()
    count = len(histories)
    prompts = _texts(request, "PROMPT", count)
    k, strength = _column(request, "K", count, _DEFAULT_K), _column(request, "STRENGTH", count, 1.0)
    steer, where = _texts(request, "STEER", count), _texts(request, "WHERE", count)
    return [
        Query(
            history=[item.decode(errors="replace") for item in histories[row] if item],  # "" pads
            prompt=prompts[row] or None,
            k=int(k[row]),
            strength=float(strength[row]),
            steer=steer[row] or "soft",
            where=where[row] or None,
        )
        for row in range(count)
    ]


def _column(request: Any, name: str, count: int, default: Any) -> Sequence[Any]:
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    column: Sequence[Any] = [default] * count if tensor is None else tensor.as_numpy().reshape(count).tolist()
    return column


def _texts(request: Any, name: str, count: int) -> list[str]:
    return [value.decode(errors="replace") for value in _column(request, name, count, b"")]


def _response(request: Any, answers: Sequence[Recommendation | DprError]) -> Any:
    found = [answer for answer in answers if isinstance(answer, Recommendation)]
    if len(found) < len(answers):
        wrong = next((row, answer) for row, answer in enumerate(answers) if isinstance(answer, DprError))
        return _failed(f"row {wrong[0]}: {wrong[1]}")
    width = max((len(answer.items) for answer in found), default=0)
    scores = np.full((len(found), width), -np.inf, dtype=np.float32)
    for row, answer in enumerate(found):
        scores[row, : len(answer.items)] = answer.scores
    tensors = {
        "ITEMS": _padded([answer.items for answer in found], width),
        "SCORES": scores,
        "TITLES": _padded([answer.titles for answer in found], width),
    }
    asked = request.requested_output_names()
    return pb_utils.InferenceResponse(
        [pb_utils.Tensor(name, tensors[name]) for name in tensors if name in asked]
    )


def _padded(rows: Sequence[Sequence[str]], width: int) -> NDArray[np.object_]:
    table = np.full((len(rows), width), b"", dtype=np.object_)
    for line, texts in zip(table, rows, strict=True):
        line[: len(texts)] = [text.encode() for text in texts]
    return table


def _failed(message: str) -> Any:
    return pb_utils.InferenceResponse(output_tensors=[], error=pb_utils.TritonError(message))
