# Three sessions of onnxruntime and a search around them: what one would write without this engine.
"""The peers that run the model's graphs in plain onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from dpr_bench.latency.numpy_ranking import Ranking
from dpr_bench.latency.pipeline import F32, Histories, KeptPrompts, Rows
from dpr_infer.bundle import open_bundle
from dpr_infer.manifest import Manifest
from dpr_train.prompt_encoder import pad_encodings
from dpr_train.sequences import pad_to_longest

__all__ = ["OnnxPipeline"]


class OnnxPipeline:
    """Backbone, prompt encoder and the whole fusion, each a session; histories of a batch padded to the longest.

    New prompts of a batch are padded and encoded together; what the encoder says of a prompt is kept.

    Parameters
    ----------
    bundle : Path
        A bundle of the same model: items, tags and tokenizer.
    graphs : Path
        Folder of `export_plain_graphs`.
    threads : int
        Of each session.
    ranking : callable
        Makes the search of the manifest and the item vectors.
    """

    def __init__(
        self,
        bundle: Path,
        graphs: Path,
        threads: int,
        ranking: Callable[[Manifest, F32], Ranking],
    ) -> None:
        opened = open_bundle(bundle)
        manifest = opened.manifest
        self._row_of = {item: row for row, item in enumerate(opened.items.ids)}
        self._limit = manifest.history_limit
        self._tag_embeddings = np.array(opened.catalogue.tag_embeddings)
        self._tag_vectors = np.array(opened.catalogue.tag_vectors)
        self._backbone, self._encoder, self._fusion = (
            _session(graphs / f"{name}.onnx", threads) for name in ("backbone", "prompt_encoder", "fusion")
        )
        self._tokenizer = Tokenizer.from_file(str(bundle / "tokenizer.json"))
        self._tokenizer.enable_truncation(manifest.prompt_token_limit)
        self._tokenizer.no_padding()
        self._ranking = ranking(manifest, np.array(opened.catalogue.vectors, order="C"))
        self._prompts = KeptPrompts(self._read)

    def search(self, histories: Histories, prompts: Sequence[str], k: int) -> Rows:
        """See :class:`~dpr_bench.latency.pipeline.Pipeline`."""
        rows = [np.array([self._row_of[item] for item in history], dtype=np.int64) for history in histories]
        (user,) = self._backbone.run(["user"], {"items": pad_to_longest(rows, self._limit)})
        read = self._prompts.get(prompts)
        longest = max(len(tokens) for tokens, _ in read)
        tokens = np.zeros((len(read), longest, read[0][0].shape[1]), dtype=np.float32)  # (B, T, p)
        mask = np.zeros((len(read), longest), dtype=np.int64)
        for line, (of_prompt, _) in enumerate(read):
            tokens[line, : len(of_prompt)], mask[line, : len(of_prompt)] = of_prompt, 1
        feed = {
            "user": user,
            "tokens": tokens,
            "attention_mask": mask,
            "wish": np.stack([wish for _, wish in read]),
            "tag_vectors": self._tag_vectors,
        }
        experts, gates = self._fusion.run(["experts", "gates"], feed)
        return self._ranking.top(user, experts, gates, rows, k)

    def _read(self, texts: list[str]) -> list[tuple[F32, F32]]:
        """Tokens (T, p) and wishes (G, 2) of each text."""
        ids, mask = pad_encodings(self._tokenizer.encode_batch(texts))
        feed = {"input_ids": ids, "attention_mask": mask, "tag_embeddings": self._tag_embeddings}
        tokens, wish = self._encoder.run(["tokens", "wish"], feed)
        return [(tokens[i, : mask[i].sum()], wish[i]) for i in range(len(texts))]


def _session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
