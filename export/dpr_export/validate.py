# The exported graphs against the model they came from, at sizes that were never traced.
"""Parity between onnxruntime and PyTorch, graph by graph and for the top-k of the whole pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from torch import Tensor

from dpr_export.backbone_step import state_after, state_width
from dpr_export.graph import ExportedGraph
from dpr_infer._core import Catalogue, ScoreRule
from dpr_train.checkpoint import Checkpoint
from dpr_train.prompt_encoder import tokenize

__all__ = ["FP32_BOUND", "ParityRow", "relative_error", "validate"]

Array = npt.NDArray[Any]

# Largest |onnxruntime - PyTorch| over the largest |PyTorch| of a tensor. float32 graphs differ by the order of sums.
FP32_BOUND = 1e-4
# int8 weights move a token by 4 to 7 % of the largest; what counts is the wish, which must stay on its side,
# and so must what is taken back.
INT8_TOKEN_BOUND = 0.2
INT8_WISH_BOUND = 0.2
# User vectors move by 1 to 2 % of the largest; what counts are the items, which int8 is measured on (backbone_loss.py).
INT8_USER_BOUND = 0.1
# Scores of the pipeline, relative to the largest; items may differ only where two scores lie within it.
SCORE_BOUND = 1e-4
_K = 10


@dataclass(frozen=True)
class ParityRow:
    """One comparison: what, at which sizes, the largest relative error, and the bound it must keep."""

    graph: str
    output: str
    batch: int
    length: int
    max_relative_error: float
    bound: float

    @property
    def passed(self) -> bool:
        """Whether the error is within the bound; a NaN is not."""
        return self.max_relative_error <= self.bound

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the manifest."""
        return asdict(self)


@torch.no_grad()
def validate(
    checkpoint: Checkpoint,
    graphs: dict[str, ExportedGraph],
    folder: Path,
    tensors: dict[str, Array],
    *,
    quantised: Sequence[str] = (),
) -> list[ParityRow]:
    """Compare every graph in ``folder``, and the top-k made from them, with the checkpoint's model.

    Parameters
    ----------
    checkpoint : Checkpoint
        The model, in evaluation mode.
    graphs : dict
        From :func:`dpr_export.graph.export_graphs`.
    folder : Path
        Holds the graphs.
    tensors : dict
        From :func:`dpr_export.catalogue.catalogue_tensors`.
    quantised : sequence of str
        Which graphs have int8 weights: ``prompt_encoder``, ``backbone``.

    Returns
    -------
    list of ParityRow
        All comparisons, failed ones included.
    """
    return _Validation(checkpoint, graphs, folder, tensors, quantised).run()


class _Validation:
    def __init__(
        self,
        checkpoint: Checkpoint,
        graphs: dict[str, ExportedGraph],
        folder: Path,
        tensors: dict[str, Array],
        quantised: Sequence[str],
    ) -> None:
        self.checkpoint = checkpoint
        self.model = checkpoint.model
        self.tensors = tensors
        self.quantised = quantised
        self.rng = np.random.default_rng(0)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self.sessions = {
            name: onnxruntime.InferenceSession(
                str(folder / graph.file), options, providers=["CPUExecutionProvider"]
            )
            for name, graph in graphs.items()
        }

    def run(self) -> list[ParityRow]:
        limit = self.model.config.backbone.max_history
        tags = self.model.config.tags
        prompts = [f"Something with {tag}, please." for tag in tags[:4]] + [f"no {tag}" for tag in tags[:4]]
        prompts += ["hello", "", " ".join(["a very long wish"] * 40)]
        rows: list[ParityRow] = []
        for batch, length in ((1, 1), (1, limit), (2, max(1, limit - 1)), (5, min(3, limit))):
            rows += self._backbone(self._histories(batch, length))
            if "backbone_step" in self.sessions:
                rows += self._backbone_step(batch, length)
        for texts in (prompts[:1], prompts[-2:-1], prompts[1:3], prompts):
            for count in (1, len(tags)):
                rows += self._prompt_encoder(texts, count)
        for texts in (prompts[:1], prompts):
            rows += self._fusion(texts)
            rows.append(self._pipeline(texts))
        return rows

    def _histories(self, batch: int, length: int) -> Array:
        """Token rows of mixed lengths, left padded; one is full, and one (of several) is empty."""
        items = self.rng.integers(1, self.model.config.n_items + 1, (batch, length))
        for row in range(1, batch):
            items[row, : self.rng.integers(0, length + 1)] = 0
        if batch > 1:
            items[-1] = 0
        return items.astype(np.int64)

    def _backbone(self, items: Array) -> list[ParityRow]:
        expected = self.model.backbone(torch.from_numpy(items))
        bound = INT8_USER_BOUND if "backbone" in self.quantised else FP32_BOUND
        return self._compare("backbone", {"items": items}, [expected], items.shape, [bound])

    def _backbone_step(self, batch: int, length: int) -> list[ParityRow]:
        """A history's beginning, and the rest of it from there, against the backbone that reads all at once."""
        backbone, half = self.model.backbone, length // 2 + 1
        items = torch.from_numpy(self.rng.integers(1, self.model.config.n_items + 1, (batch, length)))
        tokens = torch.cat([torch.zeros_like(items[:, :1]), items], dim=1)
        state = torch.zeros(batch, state_width(backbone))
        rows = []
        for part, read in ((tokens[:, :half], items[:, : half - 1]), (tokens[:, half:], items)):
            user = backbone(read if read.shape[1] else tokens[:, :1])  # no items: token 0 alone
            feeds, state = {"items": part.numpy(), "state": state.numpy()}, state_after(backbone, part, state)
            rows += self._compare("backbone_step", feeds, [user, state], part.shape, [FP32_BOUND] * 2)
        return rows

    def _prompt_encoder(self, texts: Sequence[str], n_tags: int) -> list[ParityRow]:
        ids, mask = tokenize(self.checkpoint.tokenizer, texts)
        embeddings = self.tensors["tag_embeddings"][:n_tags]
        expected = self.model.prompt_encoder(*map(torch.from_numpy, (ids, mask, embeddings)))
        bounds = (
            [INT8_TOKEN_BOUND, INT8_WISH_BOUND, INT8_WISH_BOUND]
            if "prompt_encoder" in self.quantised
            else [FP32_BOUND] * 3
        )
        feeds = {"input_ids": ids, "attention_mask": mask, "tag_embeddings": embeddings}
        return self._compare("prompt_encoder", feeds, expected, ids.shape, bounds, padding=mask == 0)

    def _fusion(self, texts: Sequence[str]) -> list[ParityRow]:
        """Both halves, one behind the other, against the whole."""
        feeds = self._fusion_inputs(texts)
        expected = self.model.fusion(*map(torch.from_numpy, feeds.values()))
        return self._compare_outputs(
            "fusion_moe",
            ("experts", "gates"),
            self._run_fusion(feeds),
            list(expected),
            feeds["tokens"].shape,
            [FP32_BOUND, FP32_BOUND],
        )

    def _run_fusion(self, feeds: dict[str, Array]) -> list[Array]:
        """Experts and gates of prompt_fusion and fusion_moe."""
        of_prompt = {name: array for name, array in feeds.items() if name != "user"}
        names = [output.name for output in self.sessions["prompt_fusion"].get_outputs()]
        share = dict(zip(names, self.sessions["prompt_fusion"].run(names, of_prompt), strict=True))
        of_user = {name: feeds[name] for name in ("user", "attention_mask")} | share
        found: list[Array] = self.sessions["fusion_moe"].run(["experts", "gates"], of_user)
        return found

    def _fusion_inputs(self, texts: Sequence[str]) -> dict[str, Array]:
        """What PyTorch's own backbone and prompt encoder hand to the fusion."""
        ids, mask = tokenize(self.checkpoint.tokenizer, texts)
        items = self._histories(len(texts), min(5, self.model.config.backbone.max_history))
        tags = torch.from_numpy(self.tensors["tag_embeddings"])
        tokens, wish, _ = self.model.prompt_encoder(torch.from_numpy(ids), torch.from_numpy(mask), tags)
        return {
            "user": self.model.backbone(torch.from_numpy(items)).numpy(),
            "tokens": tokens.numpy(),
            "attention_mask": mask,
            "wish": wish.numpy(),
            "tag_vectors": self.tensors["tag_vectors"],
        }

    def _pipeline(self, texts: Sequence[str]) -> ParityRow:
        """The kernel's top-k, from onnxruntime's fusion, against ``torch.topk`` of PyTorch's scores."""
        feeds = self._fusion_inputs(texts)
        experts, gates = self.model.fusion(*map(torch.from_numpy, feeds.values()))
        scores = self.model.score(
            torch.from_numpy(feeds["user"]), experts, gates, torch.from_numpy(self.tensors["vectors"])
        )
        k = min(_K, scores.shape[1])
        expected = torch.topk(scores, k).values.numpy()
        ort_experts, ort_gates = self._run_fusion(feeds)
        steering = self.model.config.steering
        rule = ScoreRule(
            roles=list(self.model.fusion.roles),
            biases=self.model.expert_biases().tolist(),
            phi=steering.phi,
            gain=steering.phi_gain,
        )
        catalogue = Catalogue(self.tensors["vectors"], self.tensors["tag_bits"])
        strength = np.ones(len(texts), dtype=np.float32)
        rows, got = catalogue.search(feeds["user"], ort_experts, ort_gates, rule=rule, strength=strength, k=k)
        # Both the scores that the kernel reports, and PyTorch's own scores of the rows it chose.
        chosen = np.take_along_axis(scores.numpy(), rows, axis=1)
        error = max(relative_error(got, expected), relative_error(chosen, expected))
        return ParityRow("pipeline", f"top-{k}", len(texts), feeds["tokens"].shape[1], error, SCORE_BOUND)

    def _compare(
        self,
        name: str,
        feeds: dict[str, Array],
        expected: Sequence[Tensor],
        sizes: Sequence[int],
        bounds: Sequence[float],
        *,
        padding: Array | None = None,
    ) -> list[ParityRow]:
        session = self.sessions[name]
        outputs = [output.name for output in session.get_outputs()]
        found = session.run(outputs, feeds)
        return self._compare_outputs(name, outputs, found, expected, sizes, bounds, padding=padding)

    def _compare_outputs(
        self,
        name: str,
        outputs: Sequence[str],
        found: Sequence[Array],
        expected: Sequence[Tensor],
        sizes: Sequence[int],
        bounds: Sequence[float],
        *,
        padding: Array | None = None,
    ) -> list[ParityRow]:
        rows = []
        for output, got, want, bound in zip(outputs, found, expected, bounds, strict=True):
            reference = want.numpy()
            if output == "tokens" and padding is not None:  # nothing reads what stands on padding
                got, reference = got[~padding], reference[~padding]
            # These lie in [0, 1] and are compared as they are: for a neutral prompt all of a wish is next to 0.
            scale = 1.0 if output in ("wish", "released") else None
            rows.append(
                ParityRow(name, output, sizes[0], sizes[1], relative_error(got, reference, scale), bound)
            )
        return rows


def relative_error(got: Array, expected: Array, scale: float | None = None) -> float:
    """Largest |got - expected| over ``scale``, or over the largest |expected|; inf when the shapes differ."""
    if got.shape != expected.shape:
        return float("inf")
    largest = scale or max(float(np.abs(expected).max(initial=0.0)), 1e-6)
    return float(np.abs(got - expected).max(initial=0.0)) / largest
