# One call from checked arguments to answers: rows of items -> engines -> kernel -> items.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dpr_infer.bundle import Bundle
from dpr_infer.engine import Provider
from dpr_infer.prompts import PromptReading
from dpr_infer.query_encoder import EncodedQueries, QueryEncoder
from dpr_infer.request import Options, rows_of
from dpr_infer.scoring import Scorer
from dpr_infer.stopwatch import Stopwatch
from dpr_infer.types import Recommendation


class Pipeline:
    """The engines and the kernel of one bundle.

    Parameters
    ----------
    bundle : Bundle
        The opened bundle.
    threads, providers, prompt_cache_size
        As `Recommender` documents them.

    Raises
    ------
    BundleError, ProviderError, MissingExtraError
        As `Recommender`.
    """

    def __init__(
        self, bundle: Bundle, *, threads: int, providers: Sequence[Provider], prompt_cache_size: int
    ) -> None:
        self._items = bundle.items
        self._scorer = Scorer(bundle)
        self._encoder = QueryEncoder(
            bundle, threads=threads, providers=providers, prompt_cache_size=prompt_cache_size
        )
        self._dims = bundle.manifest.dims
        self._expert_names = tuple(expert.name for expert in bundle.manifest.experts)

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers that run."""
        return self._encoder.providers

    def read_prompt(self, prompt: str | None) -> PromptReading | None:
        """Return what a prompt says; None if it is neutral. Raises QueryError if it cannot be read."""
        return self._encoder.reader.read(prompt, Stopwatch())[0]

    def search(
        self,
        histories: Sequence[list[str]],
        prompts: Sequence[str | None],
        excludes: Sequence[list[str]],
        options: Options,
        k: int,
        watch: Stopwatch,
    ) -> tuple[EncodedQueries, NDArray[np.int64], NDArray[np.float32]]:
        """Rank the catalogue for a batch.

        Parameters
        ----------
        histories, excludes : sequence of list of str, length B >= 1
            Item ids.
        prompts : sequence of str or None, length B
            Prompts.
        options : Options
            What the queries share.
        k : int
            Columns of the result, >= 1.
        watch : Stopwatch
            Books every step.

        Returns
        -------
        encoded : EncodedQueries
            What the engines said.
        rows : ndarray of int64, shape (B, k)
            Best first, padded with -1.
        scores : ndarray of float32, shape (B, k)
            Padded with -inf.

        Raises
        ------
        QueryError, EngineError
            As `Recommender.query`.
        """
        if options.where is not None:
            self._scorer.check_where(options.where)  # before the engines spend time on a query that must fail
        row_of, skip = self._items.row_of, options.skip_unknown
        history_rows = [rows_of(ids, "history", row_of, skip_unknown=skip) for ids in histories]
        excluded = [rows_of(ids, "exclude", row_of, skip_unknown=skip) for ids in excludes]
        if options.exclude_history:
            excluded = [more + rows for more, rows in zip(excluded, history_rows, strict=True)]
        encoded = self._encoder.encode(history_rows, prompts, watch)
        rows, scores = self._scorer.search(encoded, excluded, options, k)
        watch.lap("score")
        return encoded, rows, scores

    def recommend(
        self,
        histories: Sequence[list[str]],
        prompts: Sequence[str | None],
        excludes: Sequence[list[str]],
        options: Options,
        watch: Stopwatch,
        *,
        timings: bool,
    ) -> list[Recommendation]:
        """Answer a batch of queries.

        Parameters
        ----------
        histories, prompts, excludes, options, watch
            As for `search`.
        timings : bool
            Whether the answers carry times.

        Returns
        -------
        list of Recommendation
            One a query, in order.

        Raises
        ------
        QueryError, EngineError
            As `Recommender.query`.
        """
        if not histories:
            return []
        k = min(options.k, len(self._items))
        encoded, rows, scores = self.search(histories, prompts, excludes, options, k, watch)
        answers = [
            self._answer(encoded, b, line_rows, line_scores)
            for b, (line_rows, line_scores) in enumerate(zip(rows, scores, strict=True))
        ]
        if timings:
            times = watch.report()
            return [replace(answer, timings_ms=dict(times)) for answer in answers]
        return answers

    def _answer(
        self, encoded: EncodedQueries, b: int, rows: NDArray[np.int64], scores: NDArray[np.float32]
    ) -> Recommendation:
        found = rows.tolist()
        if found[-1] < 0:  # fewer than k: the padding is at the end
            found = found[: found.index(-1)]
        items = self._items
        reading, cached = encoded.readings[b]
        return Recommendation(
            items=[items.ids[row] for row in found],
            titles=[items.titles[row] for row in found],
            tags=[list(items.tags[row]) for row in found],
            rows=rows[: len(found)],
            scores=scores[: len(found)],
            wishes=() if reading is None else reading.wishes,
            gates=dict(zip(self._expert_names, encoded.gates[b].tolist(), strict=True)),
            prompt_truncated=reading is not None and reading.truncated,
            history_truncated=encoded.history_truncated[b],
            prompt_cached=cached,
            timings_ms=None,
        )
