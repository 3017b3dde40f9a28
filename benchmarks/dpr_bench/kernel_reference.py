# The canonical answers: the core's float32 scan without an index, itself checked against the scalar scores.
"""What the right answer is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dpr_bench.kernel_question import Answer, Question, different
from dpr_infer._core import Catalogue, ScoreRule, TagFilter

__all__ = ["Reference", "best_of_scores", "core_arguments", "core_rule"]

F32 = npt.NDArray[np.float32]
_DOUBTED = 4  # queries of a question whose float32 scan is compared with the scalar scores of every item


class Reference:
    """Exact answers over one catalogue.

    Parameters
    ----------
    vectors : ndarray of float32, shape (N, D)
        The items.
    half : ndarray of bool, shape (N,), optional
        Items with the tag "half"; needed by questions that want those alone.
    threads : int
        For the scan.
    """

    def __init__(self, vectors: F32, half: npt.NDArray[np.bool_] | None = None, *, threads: int = 1) -> None:
        self._half = half
        self._threads = threads
        bits = None if half is None else half.astype(np.uint64)[:, None]
        self._catalogue = Catalogue(vectors, bits)

    def answer(self, question: Question, *, batch: int = 64) -> Answer:
        """Answer exactly.

        Parameters
        ----------
        question : Question
            B queries.
        batch : int
            Queries scanned at once.

        Returns
        -------
        rows : ndarray of int64, shape (B, k)
            Best first.
        scores : ndarray of float32, shape (B, k)
            Their canonical scores.

        Raises
        ------
        ValueError
            If the scan and the scalar scores differ for one of the first queries: there is no reference then.
        """
        starts = range(0, len(question.queries), batch)
        parts = [self._scan(question.part(start, start + batch)) for start in starts]
        answer = (np.concatenate([rows for rows, _ in parts]), np.concatenate([best for _, best in parts]))
        doubted = question.part(0, _DOUBTED)
        checked = len(doubted.queries)
        wrong = different((answer[0][:checked], answer[1][:checked]), self._scalar(doubted))
        if wrong:
            raise ValueError(
                f"the float32 scan must give the scalar scores' answer; {wrong} of {checked} queries differ"
            )
        return answer

    def _scan(self, question: Question) -> Answer:
        return self._catalogue.search(
            *core_arguments(question),
            rule=core_rule(question),
            strength=np.ones(len(question.queries), dtype=np.float32),
            k=question.k,
            tag_filter=_only_half(len(question.queries)) if question.half else None,
            threads=self._threads,
        )

    def _scalar(self, question: Question) -> Answer:
        scores = self._catalogue.reference_scores(
            *core_arguments(question),
            rule=core_rule(question),
            strength=np.ones(len(question.queries), dtype=np.float32),
        )
        if question.half:
            if self._half is None:
                raise ValueError("a question for half of the items needs to know which; got none")
            scores = np.where(self._half, scores, np.float32(-np.inf))
        return best_of_scores(scores, question.k)


def best_of_scores(scores: F32, k: int) -> Answer:
    """Sort scores descending, then by rising row, and keep k.

    Parameters
    ----------
    scores : ndarray of float32, shape (B, N)
        All scores.
    k : int
        At most N.

    Returns
    -------
    rows : ndarray of int64, shape (B, k)
        Best first.
    best : ndarray of float32, shape (B, k)
        Their scores.
    """
    rows = np.empty((len(scores), k), dtype=np.int64)
    for line, values in zip(rows, scores, strict=True):
        (candidates,) = np.nonzero(values >= np.partition(values, -k)[-k])  # the k-th best and its ties too
        line[:] = candidates[np.lexsort((candidates, -values[candidates]))[:k]]
    return rows, np.take_along_axis(scores, rows, axis=1)


def core_arguments(question: Question) -> tuple[F32, F32, F32]:
    """User vectors, experts and gates of a question, as `dpr_infer._core` takes them.

    Parameters
    ----------
    question : Question
        B queries with M away vectors each, or none.

    Returns
    -------
    user : ndarray of float32, shape (B, D)
        The queries.
    experts : ndarray of float32, shape (B, M, D)
        The away vectors.
    gates : ndarray of float32, shape (B, M)
        Their gates.
    """
    n_queries, dim = question.queries.shape
    if question.away is None or question.gates is None:
        nothing = np.zeros((n_queries, 0, dim), dtype=np.float32)
        return question.queries, nothing, np.zeros((n_queries, 0), dtype=np.float32)
    return question.queries, question.away, question.gates


def core_rule(question: Question) -> ScoreRule:
    """The rule of scoring of a question.

    Parameters
    ----------
    question : Question
        With M away vectors.

    Returns
    -------
    ScoreRule
        With M experts of the role "away".
    """
    roles = ["away"] * len(question.biases)
    return ScoreRule(roles=roles, biases=question.biases, phi=question.phi, gain=question.gain)


def _only_half(n_queries: int) -> TagFilter:
    return TagFilter(
        all=np.ones((n_queries, 1), dtype=np.uint64),
        none=np.zeros((n_queries, 1), dtype=np.uint64),
        clause_offsets=np.zeros(n_queries + 1, dtype=np.int64),
        clause_with=np.zeros((0, 1), dtype=np.uint64),
        clause_without=np.zeros((0, 1), dtype=np.uint64),
    )
