# The pipelines that are timed: ours, and what one would write without us. All answer the same question.
"""Query pipelines behind one signature, for timing side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from tokenizers import Tokenizer
from torch import Tensor

from dpr_infer import Recommender
from dpr_infer.manifest import Manifest
from dpr_train.checkpoint import load_checkpoint
from dpr_train.metrics import mask_items
from dpr_train.prompt_encoder import tokenize
from dpr_train.sequences import pad_to_longest
from dpr_train.stages.prompt_pool import stack_prompts

__all__ = ["EagerPipeline", "OnnxNumpyPipeline", "OurPipeline", "Pipeline"]

Array = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Histories = Sequence[Sequence[str]]


class Pipeline(Protocol):
    """Answers batches; prompts that were seen before are taken from a cache, as every pipeline here does."""

    name: str

    def search(self, histories: Histories, prompts: Sequence[str], k: int) -> Rows:
        """Rows of the k best items, int64 (B, k); items of the history are left out."""

    def forget(self) -> None:
        """Empty the cache of prompts."""


class OurPipeline:
    """`Recommender.query_batch`, or `query` for a batch of one: results as users get them, titles included."""

    def __init__(self, bundle: Path, threads: int) -> None:
        self.name = "dpr-infer"
        self._open: Callable[[], Recommender] = lambda: Recommender(bundle, threads=threads)
        self.recommender = self._open()

    def search(self, histories: Histories, prompts: Sequence[str], k: int) -> Rows:
        """See :class:`Pipeline`."""
        if len(histories) == 1:
            return self.recommender.query(histories[0], prompts[0], k).rows[None]
        return np.stack([answer.rows for answer in self.recommender.query_batch(histories, prompts, k)])

    def forget(self) -> None:
        """See :class:`Pipeline`."""
        self.recommender = self._open()


class OnnxNumpyPipeline:
    """The same ONNX graphs, the same kept with a prompt, scores of all items by NumPy, `argpartition` for the top k."""

    def __init__(self, bundle: Path, threads: int) -> None:
        self.name = "onnxruntime + NumPy"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._sessions = {
            graph: onnxruntime.InferenceSession(
                str(bundle / f"{graph}.onnx"), options, providers=["CPUExecutionProvider"]
            )
            for graph in ("backbone", "prompt_encoder", "prompt_fusion", "fusion_moe")
        }
        recommender = Recommender(bundle)
        self._manifest = recommender.manifest
        self._row_of = recommender.items.row_of
        self._tensors = _catalogue(bundle)
        self._tokenizer = Tokenizer.from_file(str(bundle / "tokenizer.json"))
        self._tokenizer.enable_truncation(self._manifest.prompt_token_limit)
        self._tokenizer.no_padding()
        self._cache: dict[str, dict[str, Array]] = {}

    def search(self, histories: Histories, prompts: Sequence[str], k: int) -> Rows:
        """See :class:`Pipeline`."""
        rows = [np.array([self._row_of[i] for i in history]) for history in histories]
        items = pad_to_longest(rows, self._manifest.history_limit)
        (user,) = self._sessions["backbone"].run(None, {"items": items})
        shares = [self._prompt(p) for p in prompts]
        keys, mask = _padded([share["keys"] for share in shares])
        values, _ = _padded([share["values"] for share in shares])
        feeds: dict[str, npt.NDArray[Any]] = {
            name: np.stack([share[name] for share in shares]) for name in ("hidden", "sides", "strengths")
        }
        feeds |= {"user": user, "keys": keys, "values": values, "attention_mask": mask}
        experts, gates = self._sessions["fusion_moe"].run(["experts", "gates"], feeds)
        scores = _numpy_scores(self._manifest, self._tensors["vectors"], user, experts, gates)
        for query, history in enumerate(rows):
            scores[query, history] = -np.inf
        best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
        return np.take_along_axis(best, order, axis=1)

    def _prompt(self, text: str) -> dict[str, Array]:
        """The outputs of prompt_fusion, kept by text."""
        found = self._cache.get(text)
        if found is None:
            ids = np.array([self._tokenizer.encode(text).ids], dtype=np.int64)
            shared = {"attention_mask": np.ones_like(ids)}
            feeds = {"input_ids": ids, "tag_embeddings": self._tensors["tag_embeddings"]}
            tokens, wish = self._sessions["prompt_encoder"].run(["tokens", "wish"], feeds | shared)
            feeds = {"tokens": tokens, "wish": wish, "tag_vectors": self._tensors["tag_vectors"]}
            session = self._sessions["prompt_fusion"]
            names = [output.name for output in session.get_outputs()]
            parts = session.run(names, feeds | shared)
            found = self._cache[text] = {name: part[0] for name, part in zip(names, parts, strict=True)}
        return found

    def forget(self) -> None:
        """See :class:`Pipeline`."""
        self._cache.clear()


class EagerPipeline:
    """The model as it was trained, in PyTorch eager mode, float32; `torch.topk` over all items."""

    def __init__(self, checkpoint: Path, threads: int) -> None:
        torch.set_num_threads(threads)
        self.name = "PyTorch eager"
        loaded = load_checkpoint(checkpoint)
        self._model, self._tokenizer = loaded.model, loaded.tokenizer
        self._row_of = {item: row for row, item in enumerate(loaded.items["item_id"].to_pylist())}
        with torch.no_grad():
            self._vectors = self._model.item_vectors()
        self._cache: dict[str, tuple[Tensor, Tensor]] = {}

    @torch.no_grad()
    def search(self, histories: Histories, prompts: Sequence[str], k: int) -> Rows:
        """See :class:`Pipeline`."""
        model = self._model
        rows = [np.array([self._row_of[i] for i in history]) for history in histories]
        user = model.backbone(torch.from_numpy(pad_to_longest(rows, model.backbone.max_history)))
        scores = model.steered(user, *stack_prompts([self._prompt(p) for p in prompts]), self._vectors)
        return torch.topk(mask_items(scores, rows), k).indices.numpy()

    def _prompt(self, text: str) -> tuple[Tensor, Tensor]:
        found = self._cache.get(text)
        if found is None:
            ids, mask = tokenize(self._tokenizer, [text])
            tokens, wish, _ = self._model.prompt_encoder(
                torch.from_numpy(ids), torch.from_numpy(mask), self._model.tag_embeddings
            )
            found = self._cache[text] = tokens[0], wish[0]
        return found

    def forget(self) -> None:
        """See :class:`Pipeline`."""
        self._cache.clear()


def _catalogue(bundle: Path) -> dict[str, Array]:
    from safetensors.numpy import load_file

    return load_file(bundle / "catalogue.safetensors")


def _padded(sequences: Sequence[Array]) -> tuple[Array, npt.NDArray[np.int64]]:
    """Sequences (T, width) as one array (B, T, width), and the mask (B, T) of what is no padding."""
    length = max(map(len, sequences))
    padded = np.zeros((len(sequences), length, sequences[0].shape[1]), dtype=np.float32)
    mask = np.zeros((len(sequences), length), dtype=np.int64)
    for row, sequence in enumerate(sequences):
        padded[row, : len(sequence)] = sequence
        mask[row, : len(sequence)] = 1
    return padded, mask


def _numpy_scores(manifest: Manifest, vectors: Array, user: Array, experts: Array, gates: Array) -> Array:
    """The score of docs/design.md for all items, float32 (B, N)."""
    query = np.pad(user, ((0, 0), (0, vectors.shape[1] - user.shape[1])))
    penalty = np.zeros((len(user), len(vectors)), dtype=np.float32)
    for e, expert in enumerate(manifest.experts):
        gate = gates[:, e : e + 1]
        if expert.role == "toward":
            query = query + gate * experts[:, e]
        else:
            x = experts[:, e] @ vectors.T + np.float32(expert.bias)
            if manifest.phi == "relu":
                penalty += gate * np.maximum(x, 0)
            else:
                penalty += gate * np.logaddexp(0, manifest.gain * x).astype(np.float32) / manifest.gain
    return query @ vectors.T - penalty
