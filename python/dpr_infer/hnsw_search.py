# Approximate search: the HNSW index proposes rows, the kernel scores them. What comes out has exact scores; an item
# that was not proposed is missed.

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dpr_infer.hnsw_index import HnswIndex
from dpr_infer.scoring import KernelQueries, Scorer

# Candidates for each item asked for: the index knows nothing of penalties, which may push its best items down.
_CANDIDATES_PER_ITEM = 4
# As many times more where a tag filter will take some of them away.
_FILTER_FACTOR = 4
# Exclusions are counted in steps, so that queries of a batch can be searched together.
_EXCLUSION_STEP = 32


class HnswSearch:
    """Ranks with candidates from an HNSW index, and in full where they do not suffice.

    Parameters
    ----------
    scorer : Scorer
        The exact search over the same catalogue.
    index : HnswIndex
        The index.
    ef : int
        Least number of candidates, >= 1.
    """

    def __init__(self, scorer: Scorer, index: HnswIndex, ef: int) -> None:
        self._scorer = scorer
        self._index = index
        self._ef = ef

    def search(self, queries: KernelQueries) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Find good items of each query.

        The candidates are the index's proposals and all items that were added after it was built. A query that
        gets fewer of them than it asks for items, or needs as many as there are items, is answered from the
        whole catalogue, as by `Scorer.search`.

        Parameters
        ----------
        queries : KernelQueries
            B queries; K is the largest number of items that one asks for.

        Returns
        -------
        rows, scores : ndarray, shape (B, K)
            As `Scorer.search`; the scores are those that it gives the same rows. How many candidates a query gets
            depends on its own k alone, so its first k items are what it would be given by itself.

        Raises
        ------
        QueryError
            As `Scorer.search`.
        """
        points = _points(queries, self._scorer)
        if not np.isfinite(points).all():  # the scorer tells which query overflows
            return self._scorer.search(queries)
        added = np.arange(self._index.n_items, self._scorer.catalogue.n_rows, dtype=np.int64)
        allowed = [added] * len(points)
        in_full = np.ones(len(points), dtype=np.bool_)
        counts = self._candidate_counts(queries)
        for count in np.unique(counts[counts < self._index.n_items]).tolist():
            which = np.flatnonzero(counts == count)
            for b, proposed in zip(which.tolist(), self._index.candidates(points[which], count), strict=True):
                allowed[b] = np.concatenate([proposed, added])
                in_full[b] = not len(proposed)
        rows, scores = self._scorer.search(queries, allowed=allowed)
        short = [b for b, k in enumerate(queries.k) if in_full[b] or rows[b, k - 1] < 0]
        if short:
            more = queries.pick(short)
            columns = max(more.k)
            rows[short, columns:], scores[short, columns:] = -1, -np.inf
            rows[short, :columns], scores[short, :columns] = self._scorer.search(more)
        return rows, scores

    def _candidate_counts(self, queries: KernelQueries) -> NDArray[np.int64]:
        """Return how many candidates to fetch for each query, whatever else is in the batch, int64 (B,)."""
        counts = np.empty(len(queries.asked), dtype=np.int64)
        for b, (k, query) in enumerate(zip(queries.k, queries.asked, strict=True)):
            count = max(self._ef, _CANDIDATES_PER_ITEM * k)
            filtered = query.clauses is not None or query.refused is not None
            steps = -(-len(query.excluded) // _EXCLUSION_STEP)
            counts[b] = count * (_FILTER_FACTOR if filtered else 1) + steps * _EXCLUSION_STEP
        return counts


def _points(queries: KernelQueries, scorer: Scorer) -> NDArray[np.float32]:
    """Return [user ‖ 0] + strength * the gated experts that move towards something, float32 (B, D).

    Candidates alone depend on it, so this need not be the kernel's canonical arithmetic.
    """
    toward = [e for e, role in enumerate(scorer.rule.roles) if role == "toward"]
    user, experts, gates = queries.encoded
    strength = np.array([query.options.strength for query in queries.asked], dtype=np.float32)
    points = np.zeros((len(user), scorer.catalogue.dim), dtype=np.float32)
    points[:, : user.shape[1]] = user
    with np.errstate(over="ignore", invalid="ignore"):
        moved = np.einsum("be,bed->bd", gates[:, toward], experts[:, toward])
        points += strength[:, None] * moved
    return points
