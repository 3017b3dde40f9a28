# One call from checked arguments to answers: rows of items -> engines -> kernel -> items. Queries of a batch share the
# work and nothing else: each has its own options.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dpr_infer.bundle import Bundle
from dpr_infer.engines.choice import EngineChoice
from dpr_infer.errors import DprError
from dpr_infer.prompt_reading import PromptReading
from dpr_infer.prompt_text import Prompt
from dpr_infer.prompts import NOTHING_NEW, NewReadings
from dpr_infer.query_encoder import EncodedQueries, QueryEncoder
from dpr_infer.read_query import ReadQuery
from dpr_infer.request import QueryArguments, rows_of
from dpr_infer.scoring import KernelQueries, Scorer
from dpr_infer.stopwatch import Stopwatch
from dpr_infer.tag_clauses import TagClauses
from dpr_infer.types import Recommendation, make_recommendation

# Rows of the history that the backbone can read, the number of other entries, rows to exclude, and the tag expression.
_Limits = tuple[NDArray[np.int64], int, NDArray[np.int64], TagClauses | None]
# What the engines said of B queries; rows int64 (B, K) and scores float32 (B, K).
Found = tuple[EncodedQueries, NDArray[np.int64], NDArray[np.float32]]


class Ranker(Protocol):
    """What searches the catalogue."""

    def search(self, queries: KernelQueries) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return rows and scores, (B, K) each, as `Scorer.search` does."""


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
    choice : EngineChoice
        What runs the graphs.
    prompt_cache_size : int
        As `Recommender` documents it.

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
        choice: EngineChoice,
        prompt_cache_size: int,
    ) -> None:
        self._items = bundle.items
        self._scorer = scorer
        self._ranker = ranker
        self._encoder = QueryEncoder(bundle, choice=choice, prompt_cache_size=prompt_cache_size)
        self._reader = self._encoder.reader
        self.histories = self._encoder.histories
        self._n_tokens = bundle.manifest.dims.trained_items
        self._history_limit = bundle.manifest.history_limit
        self._n_items = bundle.manifest.dims.items  # rows never become fewer
        self._expert_names = tuple(expert.name for expert in bundle.manifest.experts)

    @property
    def graph_providers(self) -> dict[str, tuple[str, ...]]:
        """What runs each graph."""
        return self._encoder.graph_providers

    def read_prompt(self, prompt: Prompt | None) -> PromptReading | None:
        """Return what a prompt says; None if it is neutral. Raises QueryError if it cannot be read."""
        return self._reader.read(prompt, Stopwatch())[0]

    def forget_prompts(self) -> None:
        """Empty the cache of prompts."""
        self._reader.forget()

    def knows_prompt(self, prompt: Prompt | None) -> bool:
        """Tell whether a prompt can be dealt with without its engine."""
        return self._reader.knows(prompt)

    def read(
        self, queries: Sequence[QueryArguments], watch: Stopwatch, new: NewReadings = NOTHING_NEW
    ) -> list[ReadQuery]:
        """Find the rows of queries' items and read their prompts. What is wrong with one of them shows here.

        Parameters
        ----------
        queries : sequence of QueryArguments
            The queries.
        watch : Stopwatch
            Books "tokenise" and "encode_prompt".
        new : mapping of str to PromptReading
            Readings of texts that no cache has yet, for a query that is one of many.

        Returns
        -------
        list of ReadQuery
            The same queries.

        Raises
        ------
        QueryError, EngineError
            As `Recommender.query`.
        """
        # Prompts last: the engine spends no time on a batch that must fail.
        if len(queries) == 1:
            query = queries[0]
            limits = self._limits(query)
            return [ReadQuery(*limits, *self._reader.read(query.prompt, watch, new), query.options)]
        of_all = [self._limits(query) for query in queries]
        new = self._reader.read_new([query.prompt for query in queries], watch)
        return [
            ReadQuery(*limits, *self._reader.read(query.prompt, watch, new), query.options)
            for limits, query in zip(of_all, queries, strict=True)
        ]

    def search(self, queries: Sequence[ReadQuery], k: Sequence[int], watch: Stopwatch) -> Found:
        """Rank the catalogue for a batch.

        Parameters
        ----------
        queries : sequence of ReadQuery, length B >= 1
            The queries.
        k : sequence of int, length B
            Most items to find, >= 1.
        watch : Stopwatch
            Books the other steps.

        Returns
        -------
        encoded : EncodedQueries
            What the engines said.
        rows : ndarray of int64, shape (B, K)
            Best first, padded with -1. The first k of a row are the query's answer, the rest may be anything.
        scores : ndarray of float32, shape (B, K)
            Padded with -inf.

        Raises
        ------
        QueryError, EngineError
            As `Recommender.query`.
        """
        known = None
        if len(queries) == 1:
            histories, readings, known = [queries[0].history], [queries[0].reading], queries[0].user
        else:
            histories, readings = [query.history for query in queries], [query.reading for query in queries]
        encoded = self._encoder.encode(histories, readings, watch, known)
        rows, scores = self._rank(KernelQueries(encoded, queries, k))
        watch.lap("score")
        return encoded, rows, scores

    def recommend(
        self, queries: Sequence[QueryArguments], watch: Stopwatch, *, timings: bool
    ) -> list[Recommendation]:
        """Answer a batch of queries, all or none.

        Parameters
        ----------
        queries : sequence of QueryArguments
            The queries; there may be none.
        watch : Stopwatch
            Books every step.
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
        return self.answer(self.read(queries, watch), watch, timings=timings) if queries else []

    def recommend_each(
        self, queries: Sequence[QueryArguments | DprError], watch: Stopwatch, *, timings: bool
    ) -> list[Recommendation | DprError]:
        """Answer the queries of a batch that can be answered; errors of the others concern them alone.

        Parameters
        ----------
        queries : sequence of QueryArguments or DprError
            The queries; an error stands for one that is known to be wrong.
        watch, timings
            As for `recommend`.

        Returns
        -------
        list of Recommendation or DprError
            One a query, in order.
        """
        prompts = [query.prompt for query in queries if isinstance(query, QueryArguments)]
        new = self._reader.read_new(prompts, watch)
        results: list[Recommendation | DprError | None] = []
        sound: list[ReadQuery] = []
        for query in queries:
            results.append(query if isinstance(query, DprError) else None)
            if not isinstance(query, DprError):
                try:
                    sound += self.read([query], watch, new)
                except DprError as error:
                    results[-1] = error
        answers = iter(self._answer_each(sound, watch, timings=timings))
        return [next(answers) if result is None else result for result in results]

    def _answer_each(
        self, queries: list[ReadQuery], watch: Stopwatch, *, timings: bool
    ) -> list[Recommendation | DprError]:
        """Answer together; where that fails, by halves, until the queries that can't be answered are alone."""
        try:
            return list(self.answer(queries, watch, timings=timings)) if queries else []
        except DprError as error:
            if len(queries) == 1:
                return [error]
        half = len(queries) // 2
        return [
            result
            for part in (queries[:half], queries[half:])
            for result in self._answer_each(part, watch, timings=timings)
        ]

    def answer(
        self, queries: Sequence[ReadQuery], watch: Stopwatch, *, timings: bool
    ) -> list[Recommendation]:
        """Answer queries that are read, as `recommend`; there must be at least one."""
        found, k = self._search_all(queries, watch)
        answers = [self._recommendation(found, b, query, k[b]) for b, query in enumerate(queries)]
        if timings:
            times = watch.report()
            return [replace(answer, timings_ms=dict(times)) for answer in answers]
        return answers

    def _limits(self, query: QueryArguments) -> _Limits:
        """Return what may be read of a history and what may be answered."""
        items, options = self._items, query.options
        clauses = None if options.where is None else self._scorer.compile_where(options.where)
        history = rows_of(query.history, "history", items, skip_unknown=options.skip_unknown)
        excluded = rows_of(query.exclude, "exclude", items, skip_unknown=options.skip_unknown)
        if options.exclude_history:
            excluded = np.concatenate([excluded, history]) if len(excluded) else history
        read = history
        if len(items.ids) > self._n_tokens:  # items were added, maybe to the history too
            read = history[history < self._n_tokens]
        return read, len(history) - len(read), excluded, clauses

    def _rank(self, queries: KernelQueries) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Search for each query's k, in one call for all whose k is alike.

        The first of many are what a search for fewer finds, so queries may share the largest k among them; but a
        large one costs (a million items: 0.13 ms for 10, 0.71 ms for 100), so none takes part in twice its own.
        """
        if len(queries.k) == 1 or max(queries.k) == min(queries.k):
            return self._ranker.search(queries)
        groups: dict[int, list[int]] = {}
        for b, k in enumerate(queries.k):
            groups.setdefault((k - 1).bit_length(), []).append(b)
        if len(groups) == 1:
            return self._ranker.search(queries)
        shape = len(queries.k), max(queries.k)
        rows, scores = np.full(shape, -1, dtype=np.int64), np.full(shape, -np.inf, dtype=np.float32)
        for which in groups.values():
            found, their_scores = self._ranker.search(queries.pick(which))
            rows[which, : found.shape[1]], scores[which, : found.shape[1]] = found, their_scores
        return rows, scores

    def _search_all(self, queries: Sequence[ReadQuery], watch: Stopwatch) -> tuple[Found, list[int]]:
        """Search for as many items as each query asks for or, where those are fewer, as there can be."""
        asked = [query.options.k for query in queries]
        if max(asked) <= self._n_items:
            return self.search(queries, asked, watch), asked
        while True:
            # One more than there are rows stays empty, unless items are added meanwhile.
            limit = self._scorer.catalogue.n_rows + 1
            k = [min(wanted, limit) for wanted in asked]
            found = self.search(queries, k, watch)
            cut = (b for b, wanted in enumerate(asked) if wanted > limit)
            if not any(found[1][b, limit - 1] >= 0 for b in cut):
                return found, k

    def _recommendation(self, found: Found, b: int, query: ReadQuery, k: int) -> Recommendation:
        encoded, rows, scores = found
        best, their_scores = rows[b], scores[b]
        ids, titles, tags = self._items.at(best if k == len(best) else best[:k])
        if len(ids) < len(best):  # fewer than k where the rest is padding
            best, their_scores = best[: len(ids)], their_scores[: len(ids)]
        reading = query.reading
        return make_recommendation(
            ids,
            titles,
            tags,
            best,
            their_scores,
            () if reading is None else reading.wishes,
            dict(zip(self._expert_names, encoded.gates[b].tolist(), strict=True)),
            reading is not None and reading.truncated,
            len(query.history) > self._history_limit,
            query.unread,
            query.cached,
            None,
        )
