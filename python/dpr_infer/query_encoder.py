# Runs the engines for a batch: histories and prompts -> user vectors, experts and gates.

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dpr_infer.bundle import Bundle
from dpr_infer.checked_engine import CheckedEngine
from dpr_infer.engines.choice import EngineChoice
from dpr_infer.fusion import Fusion, SplitFusion, WholeFusion
from dpr_infer.graph_contract import contract
from dpr_infer.history_reading import HistoryReader
from dpr_infer.prompt_reading import PromptReading
from dpr_infer.prompts import PromptReader
from dpr_infer.stopwatch import Stopwatch
from dpr_infer.user_vectors import UserVectors


class EncodedQueries(NamedTuple):
    """What the engines made of B queries.

    Attributes
    ----------
    user : ndarray of float32, shape (B, user)
        User vectors.
    experts : ndarray of float32, shape (B, E, item)
        Expert vectors; 0 for a query with a neutral prompt.
    gates : ndarray of float32, shape (B, E)
        Gates, >= 0; exactly 0 for a query with a neutral prompt.
    """

    user: NDArray[np.float32]
    experts: NDArray[np.float32]
    gates: NDArray[np.float32]


class QueryEncoder:
    """The engines of a bundle and what they share.

    Parameters
    ----------
    bundle : Bundle
        The opened bundle.
    choice : EngineChoice
        What runs the graphs.
    prompt_cache_size : int
        Most prompts to keep readings of.

    Raises
    ------
    MissingExtraError
        If the engine is not installed.
    ProviderError, EngineError
        If what was asked for does not run.
    BundleError
        If a graph or the tokenizer is not what the manifest says.
    """

    def __init__(self, bundle: Bundle, *, choice: EngineChoice, prompt_cache_size: int) -> None:
        manifest = bundle.manifest
        ports = contract(manifest.dims, manifest.format_version)
        engines = {
            name: CheckedEngine(name, engine, *ports[name])
            for name, engine in choice.open(bundle.path, manifest).items()
        }
        self._backbone = engines["backbone"]
        self.graph_providers = {name: engine.providers for name, engine in engines.items()}
        tag_vectors = bundle.catalogue.tag_vectors
        self._fusion: Fusion = (
            SplitFusion(engines["prompt_fusion"], engines["fusion_moe"], tag_vectors, manifest.dims)
            if "prompt_fusion" in engines
            else WholeFusion(
                engines["fusion_moe"], tag_vectors, manifest.dims, grouped=engines["fusion_moe"].on_cpu
            )
        )
        self.reader = PromptReader(
            bundle.path / "tokenizer.json",
            engines["prompt_encoder"],
            bundle.catalogue.tag_embeddings,
            manifest,
            prompt_cache_size,
            self._fusion.prepare,
        )
        self._dims = manifest.dims
        self._users = UserVectors(self._backbone, manifest.history_limit, self._dims.user)
        self.histories = HistoryReader(
            bundle.items,
            self._dims.trained_items,
            manifest.history_limit,
            self._users,
            engines.get("backbone_step"),
            self._dims.state,
        )

    def encode(
        self,
        histories: Sequence[NDArray[np.int64]],
        readings: Sequence[PromptReading | None],
        watch: Stopwatch,
        user: NDArray[np.float32] | None = None,
    ) -> EncodedQueries:
        """Encode a batch of queries.

        Parameters
        ----------
        histories : sequence of ndarray of int64, length B >= 1
            Rows of items, oldest first. Of a longer one than the bundle takes, the newest are read.
        readings : sequence of (PromptReading or None), length B
            What `reader` read from the prompts.
        watch : Stopwatch
            Books the steps "encode_history" and "fuse".
        user : ndarray of float32, shape (B, user), optional
            User vectors, if they are known already.

        Returns
        -------
        EncodedQueries
            User vectors, experts and gates.

        Raises
        ------
        EngineError
            If an engine fails.
        """
        watch.skip()
        if user is None:
            user = self._users.of(histories)
        watch.lap("encode_history")
        experts, gates = self._fuse(user, readings)
        watch.lap("fuse")
        return EncodedQueries(user, experts, gates)

    def _fuse(
        self, user: NDArray[np.float32], readings: Sequence[PromptReading | None]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return experts (B, E, item) and gates (B, E), 0 where there is no reading."""
        steered = [reading for reading in readings if reading is not None]
        if len(steered) == len(readings):
            return self._fusion.run(user, steered)
        experts = np.zeros((len(readings), self._dims.experts, self._dims.item), dtype=np.float32)
        gates = np.zeros((len(readings), self._dims.experts), dtype=np.float32)
        if steered:
            rows = [b for b, reading in enumerate(readings) if reading is not None]
            experts[rows], gates[rows] = self._fusion.run(user[rows], steered)
        return experts, gates
