# Everything that is made of one bundle when it is opened: what a recommender answers from, and swaps when it reloads.

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike

from dpr_infer._core import simd_level
from dpr_infer.bundle import Bundle, check_unchanged, open_bundle
from dpr_infer.engines.choice import EngineChoice
from dpr_infer.hnsw_index import HnswIndex
from dpr_infer.hnsw_search import HnswSearch
from dpr_infer.item_changes import ItemChanges
from dpr_infer.pipeline import Pipeline, Ranker
from dpr_infer.request import Options, QueryArguments
from dpr_infer.scoring import Scorer
from dpr_infer.stopwatch import Stopwatch

_TRIED_PROMPT = "something good, nothing bad"
_TRIED_ITEMS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOptions:
    """How to open a bundle; the fields are the parameters of `Recommender`, checked."""

    engines: EngineChoice
    prompt_cache_size: int
    verify: str
    index: str
    ef: int


@dataclass(frozen=True, slots=True)
class OpenedBundle:
    """A bundle that answers.

    Attributes
    ----------
    bundle : Bundle
        The bundle.
    pipeline : Pipeline
        What answers queries.
    changes : ItemChanges
        What changes its items.
    """

    bundle: Bundle
    pipeline: Pipeline
    changes: ItemChanges

    def try_out(self) -> None:
        """Answer a few queries and read a text, raising DprError if that fails.

        Whether graphs can be computed shows in no other way. The cache of prompts is empty afterwards.
        """
        options = Options(1, 1.0, strict=False, exclude_history=False, skip_unknown=False, where=None)
        history = self.bundle.items.ids[:_TRIED_ITEMS]
        queries = [
            QueryArguments(history[:length], prompt, [], options)
            for length, prompt in ((0, None), (0, _TRIED_PROMPT), (len(history), _TRIED_PROMPT))
        ]
        try:
            for batch in ([queries[0]], [queries[1]], queries):
                self.pipeline.recommend(batch, Stopwatch(), timings=False)
            self.pipeline.histories.try_out()
            self.changes.try_out()
        finally:
            self.pipeline.forget_prompts()


def open_all(path: str | PathLike[str], options: OpenOptions) -> OpenedBundle:
    """Open a bundle, its catalogue and its engines.

    Parameters
    ----------
    path : path-like
        The folder.
    options : OpenOptions
        How.

    Returns
    -------
    OpenedBundle
        The opened bundle.

    Raises
    ------
    DprError
        As `Recommender`.
    """
    simd_level()  # a level forced wrongly is no fault of the bundle: let it raise before one is opened
    bundle = open_bundle(path, verify=options.verify)
    threads = options.engines.threads
    scorer = Scorer(bundle, threads=threads, check_index=options.verify == "full")
    ranker: Ranker = scorer
    if options.index == "hnsw":
        ranker = HnswSearch(scorer, HnswIndex(bundle, threads=threads), options.ef)
    pipeline = Pipeline(
        bundle,
        scorer,
        ranker,
        choice=options.engines,
        prompt_cache_size=options.prompt_cache_size,
    )
    check_unchanged(bundle)
    opened = OpenedBundle(bundle, pipeline, ItemChanges(bundle, scorer.catalogue, threads))
    if options.verify == "full":
        opened.try_out()
    return opened
