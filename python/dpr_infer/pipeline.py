# One call from checked arguments to answers: rows of items -> engines -> kernel -> items.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dpr_infer.bundle import Bundle
from dpr_infer.engine import Provider
from dpr_infer.prompt_reading import PromptReading
from dpr_infer.prompt_text import Prompt
from dpr_infer.query_encoder import EncodedQueries, QueryEncoder
from dpr_infer.request import Options, rows_of
from dpr_infer.scoring import KernelQueries, Scorer
from dpr_infer.stopwatch import Stopwatch
from dpr_infer.types import Recommendation


@dataclass(frozen=True, slots=True)
class Found:
    """What was found for B queries.

    Attributes
    ----------
    encoded : EncodedQueries
        What the engines said.
    history_unread : list of int, length B
        How many entries of each history have no token of the backbone.
    rows : ndarray of int64, shape (B, k)
        Best first, padded with -1.
    scores : ndarray of float32, shape (B, k)
        Padded with -inf.
    """

    encoded: EncodedQueries
    history_unread: list[int]
    rows: NDArray[np.int64]
    scores: NDArray[np.float32]


class Ranker(Protocol):
    """What searches the catalogue."""

    def search(self, queries: KernelQueries, k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return rows and scores, (B, k) each, as `Scorer.search` does."""


class Pipeline:
    """The engines and the kernel of one bundle.

    Parameters
    ----------
    bundle : Bundle
        The opened bundle.
    scorer : Scorer
        Its catalogue.
    ranker : Ranker
        How the catalogue is searched: the scorer itself, or something that proposes rows to it.
    threads, providers, prompt_cache_size
        As `Recommender` documents them.

    Raises
    ------
    BundleError, ProviderError, MissingExtraError
        As `Recommender`.
    """

    def __init__(
        self,
        bundle: Bundle,
        scorer: Scorer,
        ranker: Ranker,
        *,
        threads: int,
        providers: Sequence[Provider],
        prompt_cache_size: int,
    ) -> None:
        self._items = bundle.items
        self._scorer = scorer
        self._ranker = ranker
        self._encoder = QueryEncoder(
            bundle, threads=threads, providers=providers, prompt_cache_size=prompt_cache_size
        )
        self._n_tokens = bundle.manifest.dims.items
        self._expert_names = tuple(expert.name for expert in bundle.manifest.experts)

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers that run."""
        return self._encoder.providers

    def read_prompt(self, prompt: Prompt | None) -> PromptReading | None:
        """Return what a prompt says; None if it is neutral. Raises QueryError if it cannot be read."""
        return self._encoder.reader.read(prompt, Stopwatch())[0]

    def search(
        self,
        histories: Sequence[list[str]],
        prompts: Sequence[Prompt | None],
        excludes: Sequence[list[str]],
        options: Options,
        k: int,
        watch: Stopwatch,
    ) -> Found:
        """Rank the catalogue for a batch.

        Parameters
        ----------
        histories, excludes : sequence of list of str, length B >= 1
            Item ids.
        prompts : sequence of (turn, sequence of turns, or None), length B
            Prompts.
        options : Options
            What the queries share.
        k : int
            Columns of the result, >= 1.
        watch : Stopwatch
            Books every step.

        Returns
        -------
        Found
            Rows, scores, and what the engines said.

        Raises
        ------
        QueryError, EngineError
            As `Recommender.query`.
        """
        if options.where is not None:
            self._scorer.check_where(options.where)  # before the engines spend time on a query that must fail
        items, skip = self._items, options.skip_unknown
        history_rows = [rows_of(ids, "history", items, skip_unknown=skip) for ids in histories]
        excluded = [rows_of(ids, "exclude", items, skip_unknown=skip) for ids in excludes]
        if options.exclude_history:
            excluded = [more + rows for more, rows in zip(excluded, history_rows, strict=True)]
        read = [[row for row in rows if row < self._n_tokens] for rows in history_rows]
        encoded = self._encoder.encode(read, prompts, watch)
        rows, scores = self._ranker.search(self._scorer.queries(encoded, excluded, options), k)
        watch.lap("score")
        unread = [len(rows) - len(kept) for rows, kept in zip(history_rows, read, strict=True)]
        return Found(encoded, unread, rows, scores)

    def recommend(
        self,
        histories: Sequence[list[str]],
        prompts: Sequence[Prompt | None],
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
        found = self._search_all(histories, prompts, excludes, options, watch)
        answers = [self._answer(found, b) for b in range(len(histories))]
        if timings:
            times = watch.report()
            return [replace(answer, timings_ms=dict(times)) for answer in answers]
        return answers

    def _search_all(
        self,
        histories: Sequence[list[str]],
        prompts: Sequence[Prompt | None],
        excludes: Sequence[list[str]],
        options: Options,
        watch: Stopwatch,
    ) -> Found:
        """Search with as many columns as `options` ask for or, where those are fewer, as there can be items."""
        while True:
            # One column more than there are rows stays empty, unless items are added meanwhile.
            k = min(options.k, self._scorer.catalogue.n_rows + 1)
            found = self.search(histories, prompts, excludes, options, k, watch)
            if k == options.k or not (found.rows[:, -1] >= 0).any():
                return found

    def _answer(self, answers: Found, b: int) -> Recommendation:
        found = answers.rows[b].tolist()
        if found[-1] < 0:  # fewer than k: the padding is at the end
            found = found[: found.index(-1)]
        items, encoded = self._items, answers.encoded
        reading, cached = encoded.readings[b]
        return Recommendation(
            items=[items.ids[row] for row in found],
            titles=[items.titles[row] for row in found],
            tags=[list(items.tags[row]) for row in found],
            rows=answers.rows[b, : len(found)],
            scores=answers.scores[b, : len(found)],
            wishes=() if reading is None else reading.wishes,
            gates=dict(zip(self._expert_names, encoded.gates[b].tolist(), strict=True)),
            prompt_truncated=reading is not None and reading.truncated,
            history_truncated=encoded.history_truncated[b],
            history_unread=answers.history_unread[b],
            prompt_cached=cached,
            timings_ms=None,
        )
