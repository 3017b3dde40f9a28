# Descriptions of items -> where they lie in the text part of the side vectors, by the graph text_encoder.

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dpr_infer.bundle import Bundle, check_hash
from dpr_infer.checked_engine import CheckedEngine
from dpr_infer.engines.onnx_engine import OnnxEngine
from dpr_infer.engines.providers import CPU
from dpr_infer.graph_contract import TEXT_ENCODER, contract
from dpr_infer.prompt_tokenizer import PromptTokenizer

_TOKENIZER = "tokenizer.json"


class TextPlaces:
    """Reads items' descriptions. Whoever calls it must hold off others.

    The graph is opened when the first text is read: no query needs it. A text is read alone, on the CPU and on one
    thread, so that its place has the same bits whatever is read beside it and whatever runs the other graphs.

    Parameters
    ----------
    bundle : Bundle
        A bundle with a text encoder.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._opened: tuple[PromptTokenizer, CheckedEngine] | None = None

    def of(self, descriptions: Sequence[str]) -> NDArray[np.float32]:
        """Return where texts lie, float32 (n, text); 0 for one that is blank or has no token.

        Raises
        ------
        BundleError
            If graph or tokenizer are no longer those that the manifest lists, or not what it says of them.
        EngineError
            If either fails.
        MissingExtraError
            If onnxruntime is not installed.
        """
        places = np.zeros((len(descriptions), self._bundle.manifest.dims.text), dtype=np.float32)
        for place, description in zip(places, descriptions, strict=True):
            if description.strip():
                place[:] = self._read(description)
        return places

    def _read(self, description: str) -> NDArray[np.float32] | float:
        tokenizer, engine = self._open()
        ids = np.array([tokenizer.encode(description)[0]], dtype=np.int64)
        if not ids.size:
            return 0.0
        (place,) = engine.run({"input_ids": ids, "attention_mask": np.ones_like(ids)})
        row: NDArray[np.float32] = place[0]
        return row

    def _open(self) -> tuple[PromptTokenizer, CheckedEngine]:
        if self._opened is None:
            folder, manifest = self._bundle.path, self._bundle.manifest
            # Another bundle may lie there by now, and its text encoder speaks of other directions.
            for name in (manifest.graphs[TEXT_ENCODER].file, _TOKENIZER):
                check_hash(folder, name, manifest.files[name])
            engine = OnnxEngine(
                folder, manifest, TEXT_ENCODER, threads=1, providers=[CPU], allow_fallback=False
            )
            ports = contract(manifest.dims, manifest.format_version)[TEXT_ENCODER]
            self._opened = (
                PromptTokenizer(folder / _TOKENIZER, manifest.text_token_limit),
                CheckedEngine(TEXT_ENCODER, engine, *ports),
            )
        return self._opened
