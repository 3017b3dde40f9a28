# Everything that is made of one bundle when it is opened: what a recommender answers from, and swaps when it reloads.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike

from dpr_infer._core import simd_level
from dpr_infer.bundle import Bundle, check_unchanged, open_bundle
from dpr_infer.engine import Provider
from dpr_infer.hnsw_index import HnswIndex
from dpr_infer.hnsw_search import HnswSearch
from dpr_infer.item_changes import ItemChanges
from dpr_infer.pipeline import Pipeline, Ranker
from dpr_infer.scoring import Scorer


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOptions:
    """How to open a bundle; the fields are the parameters of `Recommender`, checked."""

    threads: int
    providers: Sequence[Provider]
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
    scorer = Scorer(bundle, threads=options.threads, check_index=options.verify == "full")
    ranker: Ranker = scorer
    if options.index == "hnsw":
        ranker = HnswSearch(scorer, HnswIndex(bundle, threads=options.threads), options.ef)
    pipeline = Pipeline(
        bundle,
        scorer,
        ranker,
        threads=options.threads,
        providers=options.providers,
        prompt_cache_size=options.prompt_cache_size,
    )
    check_unchanged(bundle)
    if options.verify == "full":
        pipeline.try_out()
    return OpenedBundle(bundle, pipeline, ItemChanges(bundle, scorer.catalogue, options.threads))
