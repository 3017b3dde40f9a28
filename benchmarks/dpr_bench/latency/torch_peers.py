# The model in PyTorch: as it is after training, with all that pays for serving, and compiled.
"""The peers that run the model in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Encoding, Tokenizer
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from dpr_bench.latency.pipeline import F32, Histories, KeptPrompts, Rows
from dpr_export.fusion_parts import PromptHalf, UserHalf
from dpr_infer.length_groups import length_groups
from dpr_train.checkpoint import load_checkpoint
from dpr_train.metrics import mask_items
from dpr_train.model import DPR
from dpr_train.prompt_encoder import pad_encodings
from dpr_train.sequences import pad_to_longest
from dpr_train.stages.prompt_pool import stack_prompts

__all__ = ["CompiledPipeline", "EagerPipeline", "OptimisedPipeline"]

Encoded = tuple[Tensor, Tensor]  # tokens (T, p) and wishes (G, 2) of a prompt
Share = tuple[Tensor, ...]  # what PromptHalf gives for a prompt


class _TorchPipeline:
    """Model, tokenizer and item vectors of a checkpoint; the vectors of a larger catalogue may take their place."""

    def __init__(self, checkpoint: Path, vectors: F32 | None, ids: Sequence[str] | None) -> None:
        loaded = load_checkpoint(checkpoint)
        self._model: DPR = loaded.model.requires_grad_(False)
        self._tokenizer: Tokenizer = loaded.tokenizer
        names = loaded.items["item_id"].to_pylist() if ids is None else ids
        self._row_of = {item: row for row, item in enumerate(names)}
        self._vectors = self._model.item_vectors() if vectors is None else torch.from_numpy(vectors)
        self._tag_vectors = self._model.tag_vectors

    def _rows(self, histories: Histories) -> list[Rows]:
        return [np.array([self._row_of[item] for item in history], dtype=np.int64) for history in histories]

    def _read(self, encodings: Sequence[Encoding]) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens (B, T, p), mask (B, T) and wishes (B, G, 2) of tokenised prompts, padded to the longest."""
        ids, mask = (torch.from_numpy(array) for array in pad_encodings(encodings))
        tokens, wish, _ = self._model.prompt_encoder(ids, mask, self._model.tag_embeddings)
        return tokens, mask, wish


class EagerPipeline(_TorchPipeline):
    """The model as it is after training, in eager mode: its own `forward`, histories padded to the longest.

    The backbone's `forward` leaves out of the last block all positions but the last, which is the model's own doing.
    Prompts are kept as the prompt encoder reads them; Fusion reads them anew for every user.

    Parameters
    ----------
    checkpoint : Path
        Checkpoint folder.
    """

    def __init__(self, checkpoint: Path) -> None:
        super().__init__(checkpoint, None, None)
        self._prompts: KeptPrompts[Encoded] = KeptPrompts(self._encode)

    @torch.inference_mode()
    def search(self, histories: Histories, prompts: Sequence[str], k: int) -> Rows:
        """See :class:`~dpr_bench.latency.pipeline.Pipeline`."""
        model, rows = self._model, self._rows(histories)
        user = model.backbone(torch.from_numpy(pad_to_longest(rows, model.backbone.max_history)))
        scores = model.steered(user, *stack_prompts(self._prompts.get(prompts)), self._vectors)
        return torch.topk(mask_items(scores, rows), k).indices.numpy()

    def _encode(self, texts: list[str]) -> list[Encoded]:
        tokens, mask, wish = self._read(self._tokenizer.encode_batch(texts))
        return [(tokens[i, : int(mask[i].sum())], wish[i]) for i in range(len(texts))]


class OptimisedPipeline(_TorchPipeline):
    """Eager mode with what dpr-infer does around its engines.

    Histories and new prompts are grouped by length, so that hardly anything is padded; the prompt's share of Fusion is
    kept with the prompt, and a user is added to it; of the last block, the last position alone is computed; experts
    whose gate is closed in the whole batch are not scored.

    Parameters
    ----------
    checkpoint : Path
        Checkpoint folder.
    vectors : ndarray of float32, shape (N, D), optional
        Items of another catalogue that begins with the checkpoint's.
    ids : sequence of str, length N, optional
        Their ids.
    """

    def __init__(
        self, checkpoint: Path, *, vectors: F32 | None = None, ids: Sequence[str] | None = None
    ) -> None:
        super().__init__(checkpoint, vectors, ids)
        fusion = self._model.fusion
        self._prompt_half = PromptHalf(fusion).eval()
        self._backbone: Callable[..., Any] = self._model.backbone
        self._user_half: Callable[..., Any] = UserHalf(fusion).eval()
        self._scores: Callable[..., Any] = self._score
        self._side = self._vectors.shape[1] - self._model.config.backbone.dim
        self._toward = [e for e, role in enumerate(fusion.roles) if role == "toward"]
        self._away = [e for e, role in enumerate(fusion.roles) if role == "away"]
        self._prompts: KeptPrompts[Share] = KeptPrompts(self._shares)

    @torch.inference_mode()
    def search(self, histories: Histories, prompts: Sequence[str], k: int) -> Rows:
        """See :class:`~dpr_bench.latency.pipeline.Pipeline`."""
        rows = self._rows(histories)
        user = self._users(rows)
        shares = self._prompts.get(prompts)
        keys = pad_sequence([share[0] for share in shares], batch_first=True)  # (B, T, f)
        values = pad_sequence([share[1] for share in shares], batch_first=True)
        lengths = torch.tensor([len(share[0]) for share in shares])
        mask = (torch.arange(keys.shape[1])[None] < lengths[:, None]).to(torch.int64)
        rest = (torch.stack([share[part] for share in shares]) for part in (2, 3, 4))
        experts, gates = self._user_half(user, keys, values, mask, *rest)
        scores = self._scores(user, experts, gates, self._open(gates))
        return torch.topk(mask_items(scores, rows), k).indices.numpy()

    def _users(self, rows: list[Rows]) -> Tensor:
        limit = self._model.backbone.max_history
        groups = length_groups([min(len(history), limit) for history in rows])
        if len(groups) == 1:
            whole: Tensor = self._backbone(torch.from_numpy(pad_to_longest(rows, limit)))
            return whole
        user = torch.empty((len(rows), self._model.config.backbone.dim))
        for group in groups:
            part = pad_to_longest([rows[b] for b in group], limit)
            user[group] = self._backbone(torch.from_numpy(part))
        return user

    def _open(self, gates: Tensor) -> list[int]:
        """Away experts that some query opens."""
        largest = gates.amax(0).tolist()
        return [e for e in self._away if largest[e] > 0]

    def _score(self, user: Tensor, experts: Tensor, gates: Tensor, away: list[int]) -> Tensor:
        """Scores of all items, (B, N)."""
        model, items = self._model, self._vectors
        query = nn.functional.pad(user, (0, self._side))
        query = query + (gates[:, self._toward, None] * experts[:, self._toward]).sum(1)
        scores = query @ items.T
        for e in away:
            reached = experts[:, e] @ items.T + model.biases[e]
            scores = scores - gates[:, e : e + 1] * model.phi(reached)
        return scores

    def _shares(self, texts: list[str]) -> list[Share]:
        encodings = self._tokenizer.encode_batch(texts)
        shares: dict[int, Share] = {}
        for group in length_groups([len(encoding.ids) for encoding in encodings]):
            tokens, mask, wish = self._read([encodings[i] for i in group])
            parts = self._prompt_half(tokens, mask, wish, self._tag_vectors)
            for place, i in enumerate(group):
                length = len(encodings[i].ids)
                shares[i] = (*(p[place, :length] for p in parts[:2]), *(p[place] for p in parts[2:]))
        return [shares[i] for i in range(len(texts))]


class CompiledPipeline(OptimisedPipeline):
    """:class:`OptimisedPipeline` with backbone, the user's half of Fusion, and scoring compiled by `torch.compile`.

    Compiled for any batch size and length, every away expert scored. The prompt encoder stays eager: its calls are
    few. Opening it answers the given queries, which is when it compiles.

    Parameters
    ----------
    checkpoint : Path
        Checkpoint folder.
    batches : sequence of (histories, prompts)
        Queries to compile on: a batch of one, and a larger one.

    Raises
    ------
    Exception
        Whatever the compiler says, if it can't compile here.
    """

    def __init__(self, checkpoint: Path, batches: Sequence[tuple[Histories, Sequence[str]]]) -> None:
        super().__init__(checkpoint)
        torch.compiler.reset()  # what was compiled for another number of threads counts against the compiler's limit
        self._backbone = torch.compile(self._backbone, dynamic=True)
        self._user_half = torch.compile(self._user_half, dynamic=True)
        self._scores = torch.compile(self._score, dynamic=True)
        for histories, prompts in batches:
            self.search(histories, prompts, 1)

    def _open(self, gates: Tensor) -> list[int]:
        return self._away
