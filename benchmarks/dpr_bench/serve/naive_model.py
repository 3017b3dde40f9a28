# The model as one has it after training: PyTorch eager, one request at a time. The peer of the load benchmark.
"""The checkpoint's model, answering single requests."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dpr_train.checkpoint import load_checkpoint
from dpr_train.prompt_encoder import tokenize
from dpr_train.sequences import pad_left

__all__ = ["NaiveModel", "UnknownItem"]


class UnknownItem(Exception):  # noqa: N818 - named for what it is, as the web framework's handlers are
    """A history names an item that the model does not know."""


@dataclass(frozen=True)
class _Reading:
    tokens: Tensor  # (1, T, p)
    mask: Tensor  # (1, T)
    wish: Tensor  # (1, G, 2)
    wishes: list[dict[str, Any]]


class NaiveModel:
    """Answers what `dpr-serve` answers, by plain tensor operations over all items. Safe to use from several threads.

    Parameters
    ----------
    checkpoint : Path
        Checkpoint folder.
    cache_size : int
        Prompts whose readings are kept; the least recently used goes first, as in dpr-infer.
    """

    def __init__(self, checkpoint: Path, *, cache_size: int = 4096) -> None:
        torch.set_num_threads(1)
        loaded = load_checkpoint(checkpoint)
        self._model, self._tokenizer = loaded.model, loaded.tokenizer
        self._ids = loaded.items["item_id"].to_pylist()
        self._titles = loaded.items["title"].to_pylist()
        self._item_tags = loaded.items["tags"].to_pylist()
        self._row_of = {item: row for row, item in enumerate(self._ids)}
        self._cache_size = cache_size
        self._cache: OrderedDict[str, _Reading] = OrderedDict()
        self._lock = Lock()
        with torch.inference_mode():
            self._vectors = self._model.item_vectors()

    @torch.inference_mode()
    def recommend(self, history: Sequence[str], prompt: str | None, k: int) -> dict[str, Any]:
        """Items for one user, as the body of an answer."""
        model = self._model
        rows = self._rows(history)
        limit = model.backbone.max_history
        length = max(1, min(limit, len(rows)))
        user = model.backbone(torch.from_numpy(pad_left([rows], length)))
        reading, cached = self._read(prompt) if prompt is not None else (None, False)
        if reading is None:
            scores = user @ self._vectors[:, : user.shape[1]].T
        else:
            experts, gates = model.fusion(user, reading.tokens, reading.mask, reading.wish, model.tag_vectors)
            scores = model.score(user, experts, gates, self._vectors)
        scores[0, torch.from_numpy(rows)] = float("-inf")
        best = torch.topk(scores[0], min(k, scores.shape[1]))
        return {
            "items": [
                {
                    "id": self._ids[row],
                    "title": self._titles[row],
                    "tags": self._item_tags[row],
                    "score": score,
                }
                for row, score in zip(best.indices.tolist(), best.values.tolist(), strict=True)
                if score > float("-inf")
            ],
            "wishes": [] if reading is None else reading.wishes,
            "prompt_truncated": False,
            "history_truncated": len(rows) > limit,
            "history_unread": 0,
            "prompt_cached": cached,
        }

    def _rows(self, history: Sequence[str]) -> np.ndarray:
        try:
            return np.array([self._row_of[item] for item in history], dtype=np.int64)
        except KeyError as error:
            raise UnknownItem(f"unknown item {error}") from None

    def _read(self, prompt: str) -> tuple[_Reading, bool]:
        with self._lock:
            found = self._cache.get(prompt)
            if found is not None:
                self._cache.move_to_end(prompt)
                return found, True
        ids, mask = (torch.from_numpy(array) for array in tokenize(self._tokenizer, [prompt]))
        tokens, wish, _ = self._model.prompt_encoder(ids, mask, self._model.tag_embeddings)
        reading = _Reading(tokens, mask, wish, self._wishes(wish[0]))
        with self._lock:
            self._cache[prompt] = reading
            if len(self._cache) > self._cache_size:
                self._cache.popitem(last=False)
        return reading, False

    def _wishes(self, wish: Tensor) -> list[dict[str, Any]]:
        config = self._model.config
        strength = wish.max(dim=1).values
        return [
            {"tag": config.tags[g], "asked": float(wish[g, 0]), "refused": float(wish[g, 1])}
            for g in torch.argsort(strength, descending=True).tolist()
            if strength[g] >= config.steering.wish_threshold
        ]
