# The runtime's front: check -> encode -> score -> map to items. Knows the order of the steps, and none of
# their insides.

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from types import MappingProxyType
from typing import SupportsIndex

import numpy as np
from numpy.typing import NDArray

from dpr_infer.engine import EngineFactory, Provider
from dpr_infer.engines.choice import EngineChoice, union
from dpr_infer.errors import QueryError
from dpr_infer.items import ItemTable
from dpr_infer.live_items import LiveItems
from dpr_infer.manifest import Manifest
from dpr_infer.mixed_queries import MixedQueries
from dpr_infer.opened import OpenOptions
from dpr_infer.prompt_text import Prompt, Turn
from dpr_infer.request import (
    Exclude,
    QueryArguments,
    check_count,
    check_options,
    list_queries,
    one_list,
)
from dpr_infer.stopwatch import Stopwatch
from dpr_infer.types import Recommendation, Wish
from dpr_infer.user_session import UserSessions


class Recommender(MixedQueries, UserSessions, LiveItems):
    """Answers queries against one bundle. Using it from several threads at once is safe.

    Parameters
    ----------
    path : path-like
        The bundle folder.
    threads : int
        Threads that an engine may use within one operator, and the search for the queries of a batch, >= 1. The
        number does not change what is found.
    engine : {"onnxruntime", "openvino", "tensorrt"} or callable
        What runs the graphs (docs/engines.md). A callable opens one graph, given the folder, the manifest and the
        graph's name.
    providers : sequence, optional
        Execution providers as onnxruntime takes them: names, or pairs of name and options. The CPU by
        default. What is asked for runs, or opening fails.
    allow_fallback : bool
        Do without providers that can't be had, down to the CPU; `providers` says what runs.
    precision : str, optional
        What to compute in, "fp32" by default: with "openvino" also "bf16", with "tensorrt" "fp16" and "int8".
    prompt_cache_size : int
        How many prompts' readings to keep, >= 0; the least recently used is forgotten first.
    verify : {"fast", "full"}
        "full" compares every byte of the bundle with its checksums and recomputes every bound of the index;
        "fast" compares the files below 1 MiB.
    index : {"exact", "hnsw"}
        "hnsw" takes candidates from the bundle's index.hnsw and gives them their exact scores: an item of the
        exact answer may be missing, but what is returned has the score and the order of the exact answer. A
        query with too few candidates, because of filters say, is answered from the whole catalogue. Items
        added later are all candidates.
    ef : int
        For "hnsw", the least number of candidates, >= 1: more are slower and miss less. The manifest has the
        recall that was measured.

    Raises
    ------
    BundleVersionError
        If the bundle's format version is not known.
    BundleError
        If the bundle is not whole and consistent, or has no index.hnsw and is to be searched with it.
    ProviderError, EngineError
        If what was asked for does not run here.
    MissingExtraError
        If the engine, or hnswlib for "hnsw", is not installed.
    QueryError
        If `threads`, `prompt_cache_size`, `verify`, `index` or `ef` is out of range.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        threads: int = 1,
        engine: str | EngineFactory = "onnxruntime",
        providers: Sequence[Provider] | None = None,
        allow_fallback: bool = False,
        precision: str | None = None,
        prompt_cache_size: int = 1024,
        verify: str = "fast",
        index: str = "exact",
        ef: int = 128,
    ) -> None:
        check_count("threads", threads, 1)
        check_count("prompt_cache_size", prompt_cache_size, 0)
        check_count("ef", ef, 1)
        if index not in ("exact", "hnsw"):
            raise QueryError(f'index must be "exact" or "hnsw"; got {index!r}')
        super().__init__(
            path,
            OpenOptions(
                engines=EngineChoice(
                    engine=engine,
                    threads=threads,
                    providers=providers,
                    allow_fallback=allow_fallback,
                    precision=precision,
                ),
                prompt_cache_size=prompt_cache_size,
                verify=verify,
                index=index,
                ef=ef,
            ),
        )

    @property
    def manifest(self) -> Manifest:
        """What the bundle says of itself."""
        return self._bundle.manifest

    @property
    def items(self) -> ItemTable:
        """Ids, titles and tags of the catalogue as it is now, and the search for a title."""
        return self._bundle.items

    @property
    def examples(self) -> Mapping[str, tuple[str, ...]]:
        """Example histories by name; item ids, oldest first."""
        return MappingProxyType(self._bundle.examples)

    @property
    def providers(self) -> tuple[str, ...]:
        """What runs the nodes of the graphs, most preferred first: all that runs any of them."""
        return union(self._pipeline.graph_providers)

    @property
    def graph_providers(self) -> Mapping[str, tuple[str, ...]]:
        """What runs the nodes of each graph, by the graph's name."""
        return MappingProxyType(self._pipeline.graph_providers)

    def wishes(self, prompt: Prompt) -> tuple[Wish, ...]:
        """Tell what a prompt is understood to ask for and to refuse.

        Parameters
        ----------
        prompt : str, mapping of str to str, or sequence of them
            The prompt, or its turns, as for `query`.

        Returns
        -------
        tuple of Wish
            As `Recommendation.wishes`; empty for a neutral prompt.

        Raises
        ------
        QueryError
            If the prompt cannot be read.
        """
        reading = self._pipeline.read_prompt(prompt)
        return () if reading is None else reading.wishes

    def query(
        self,
        history: Iterable[str],
        prompt: Prompt | None = None,
        k: SupportsIndex = 10,
        *,
        exclude: Iterable[str] = (),
        exclude_history: bool = True,
        where: str | None = None,
        strength: float = 1.0,
        steer: str = "soft",
        unknown_items: str = "error",
        timings: bool = False,
    ) -> Recommendation:
        """Recommend items to one user.

        Parameters
        ----------
        history : iterable of str
            Item ids, oldest first. Repetitions are kept. Of more than the bundle's limit, the newest are read
            and the answer says so. An empty history is a new user, for whom the backbone has learned a start.
        prompt : str, mapping of str to str, or sequence of them, optional
            What the user wants, in words. None and a blank text are neutral: the ranking is the backbone's
            own, bit for bit, and so it is for a prompt that opens no gate. Of more tokens than the bundle's
            limit, the first are read and the answer says so.
            A sequence holds the turns of a conversation, oldest first, 32 at most (docs/turns.md). A later turn
            decides about every tag that it speaks of: it replaces what stood, or takes it back; other tags keep
            what they had. "Start over" and its like take back all before them. No turn is no prompt, and one
            turn is the text alone, bit for bit.
            A mapping of tags to "ask", "refuse" or "release" is an exact turn: it says wishes without language.
        k : int
            Most items to return, >= 1. Fewer are returned where fewer are allowed.
        exclude : iterable of str
            Item ids never to return.
        exclude_history : bool
            Never return an item of the history, be it within the limit or not.
        where : str, optional
            Tag expression that items must fulfil (docs/where.md). Blank filters nothing.
        strength : float
            How far the prompt may move the ranking: a factor on what the experts say, finite, >= 0. With 0
            it is the plain ranking, bit for bit.
        steer : {"soft", "strict"}
            "strict" never returns an item with a tag that the prompt refuses, as understood.
        unknown_items : {"error", "skip"}
            What to do about ids in `history` and `exclude` that the catalogue does not have.
        timings : bool
            Report the time of each step.

        Returns
        -------
        Recommendation
            The items, best first: by falling score, equal scores by rising row.

        Raises
        ------
        UnknownItemError
            If ids are unknown and `unknown_items` is "error".
        WhereError
            If the tag expression is wrong.
        QueryError
            If another argument is wrong, or scores overflow.
        EngineError
            If an engine fails.
        """
        watch = Stopwatch()
        options = check_options(
            k,
            strength=strength,
            steer=steer,
            exclude_history=exclude_history,
            unknown_items=unknown_items,
            where=where,
        )
        asked = QueryArguments(one_list(history, "history"), prompt, one_list(exclude, "exclude"), options)
        return self._pipeline.recommend([asked], watch, timings=timings)[0]

    def query_batch(
        self,
        histories: Iterable[Iterable[str]],
        prompts: Turn | Sequence[Prompt | None] | None = None,
        k: SupportsIndex = 10,
        *,
        exclude: Exclude = (),
        exclude_history: bool = True,
        where: str | None = None,
        strength: float = 1.0,
        steer: str = "soft",
        unknown_items: str = "error",
        timings: bool = False,
    ) -> list[Recommendation]:
        """Recommend items to several users at once; the options are those of `query`.

        The kernel's answer to a query does not depend on its batch. The engines may sum in another order for
        another batch size, so scores may differ from those of `query` by some 1e-5 relative, and items only
        where two scores lie that close. With an int8 backbone some items do change (docs/engines.md). What a prompt
        is understood to say does not depend on the others.

        Parameters
        ----------
        histories : iterable of iterable of str
            One history a user; there may be none.
        prompts : turn, None, or sequence of prompts
            One text or mapping for all users, or a sequence with one prompt for each: as for `query`.
        k, exclude_history, where, strength, steer, unknown_items, timings
            As for `query`, shared by all users.
        exclude : iterable of str, or sequence of iterables of str
            Item ids never to return to anyone; or, where the entries are collections, one for each user.

        Returns
        -------
        list of Recommendation
            One a history, in order.

        Raises
        ------
        QueryError
            As `query`, and if the number of prompts or collections is not that of the histories.
        EngineError
            If an engine fails.
        """
        watch = Stopwatch()
        options = check_options(
            k,
            strength=strength,
            steer=steer,
            exclude_history=exclude_history,
            unknown_items=unknown_items,
            where=where,
        )
        queries = list_queries(histories, prompts, exclude, options)
        return self._pipeline.recommend(queries, watch, timings=timings)

    def search_arrays(
        self,
        histories: Iterable[Iterable[str]],
        prompts: Turn | Sequence[Prompt | None] | None = None,
        k: SupportsIndex = 10,
        *,
        exclude: Exclude = (),
        exclude_history: bool = True,
        where: str | None = None,
        strength: float = 1.0,
        steer: str = "soft",
        unknown_items: str = "error",
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Give the answers of `query_batch` as arrays, without looking up what the items are.

        Parameters
        ----------
        histories, prompts, k, exclude, exclude_history, where, strength, steer, unknown_items
            As for `query_batch`, with B histories.

        Returns
        -------
        rows : ndarray of int64, shape (B, k)
            Row numbers in the catalogue, best first; -1 where fewer than k items are allowed.
        scores : ndarray of float32, shape (B, k)
            Their scores; -inf where the row is -1.

        Raises
        ------
        QueryError
            As `query_batch`.
        EngineError
            If an engine fails.
        """
        options = check_options(
            k,
            strength=strength,
            steer=steer,
            exclude_history=exclude_history,
            unknown_items=unknown_items,
            where=where,
        )
        queries = list_queries(histories, prompts, exclude, options)
        if not queries:
            return np.empty((0, options.k), dtype=np.int64), np.empty((0, options.k), dtype=np.float32)
        watch, pipeline = Stopwatch(), self._pipeline  # a reload between the steps must not show
        _, rows, scores = pipeline.search(pipeline.read(queries, watch), [options.k] * len(queries), watch)
        return rows, scores
