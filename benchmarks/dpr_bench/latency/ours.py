# dpr-infer as its users have it: query for one, query_batch for several, titles and tags looked up.
"""The pipeline that is measured against the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dpr_bench.latency.pipeline import Histories, Rows
from dpr_infer import Recommender

__all__ = ["OurPipeline"]


class OurPipeline:
    """`Recommender.query_batch`, or `query` for a batch of one.

    Parameters
    ----------
    bundle : Path
        Bundle folder.
    threads : int
        As of `Recommender`.
    engine : str
        As of `Recommender`.
    """

    def __init__(self, bundle: Path, threads: int, *, engine: str = "onnxruntime") -> None:
        self.recommender = Recommender(bundle, threads=threads, engine=engine)

    def search(self, histories: Histories, prompts: Sequence[str], k: int) -> Rows:
        """See :class:`~dpr_bench.latency.pipeline.Pipeline`."""
        if len(histories) == 1:
            return self.recommender.query(histories[0], prompts[0], k).rows[None]
        return np.stack([answer.rows for answer in self.recommender.query_batch(histories, prompts, k)])
