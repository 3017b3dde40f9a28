# One catalogue and everything that searches it: made when first asked for, shared by all cases on the same vectors.
"""A catalogue with our index, the reference and the peers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from dpr_bench.kernel_data import Data, half_of
from dpr_bench.kernel_index_cache import IndexCache, digest_of
from dpr_bench.kernel_ours import NativeIndex, OurIndex
from dpr_bench.kernel_peers_approximate import APPROXIMATE, ApproximatePeer
from dpr_bench.kernel_peers_exact import FlatPeer, NumpyPeer, OnnxPeer, TorchPeer
from dpr_bench.kernel_progress import Watch
from dpr_bench.kernel_question import Answer, Question, different
from dpr_bench.kernel_reference import Reference
from dpr_bench.kernel_threads import n_cores
from dpr_bench.kernel_timing import Contender

__all__ = ["Checked", "Stage"]

_MOST_K = 100  # the answer for a smaller k is the beginning of this one


@dataclass(frozen=True)
class Checked:
    """A contender of ours whose every call was compared with the reference: how many queries, how many differ."""

    contender: Contender
    queries: int
    mismatches: int


class Stage:
    """What cases on the same vectors share.

    Parameters
    ----------
    data : Data
        Vectors and queries.
    cache : IndexCache
        Of the approximate peers' indexes.
    watch : Watch
        Told what is being built.
    construction : int
        How hard graphs are built.
    tagged : bool
        Whether half of the items carry the tag "half".
    """

    def __init__(
        self, data: Data, cache: IndexCache, watch: Watch, *, construction: int, tagged: bool = False
    ) -> None:
        self.data = data
        self.watch = watch
        self._cache = cache
        self._construction = construction
        self._half: npt.NDArray[np.bool_] | None = half_of(data.n_items) if tagged else None
        self._answers: dict[Any, Answer] = {}
        self._approximate: dict[str, ApproximatePeer] = {}
        self._checked: dict[tuple[str, int], Checked] = {}

    @property
    def title(self) -> str:
        """Number of items and where they come from."""
        return f"{self.data.n_items:,} items, {self.data.name}, D={self.data.dim}"

    @cached_property
    def ours(self) -> OurIndex:
        """Our catalogue."""
        self.watch.step(f"{self.title}: building our index")
        return OurIndex(self.data.vectors, self.data.parts, half=self._half, threads=n_cores())

    @cached_property
    def native(self) -> NativeIndex:
        """The native catalogue beneath the Python class, without tags."""
        return NativeIndex(self.data.vectors, self.data.parts)

    @cached_property
    def flat(self) -> list[FlatPeer]:
        """Both settings of faiss flat."""
        return FlatPeer.both(self.data.vectors)

    @cached_property
    def onnx(self) -> OnnxPeer:
        """Onnxruntime."""
        return OnnxPeer(self.data.vectors)

    @cached_property
    def torch(self) -> TorchPeer:
        """PyTorch."""
        return TorchPeer(self.data.vectors)

    @cached_property
    def numpy(self) -> NumpyPeer:
        """NumPy."""
        return NumpyPeer(self.data.vectors)

    @cached_property
    def _reference(self) -> Reference:
        return Reference(self.data.vectors, self._half, threads=n_cores())

    @cached_property
    def _digest(self) -> str:
        return digest_of(self.data.vectors)

    def approximate(self, name: str) -> ApproximatePeer:
        """An approximate peer, built or loaded."""
        if name not in self._approximate:
            self.watch.step(f"{self.title}: building {name}, or loading it")
            self._approximate[name] = APPROXIMATE[name](
                self.data.vectors, self._digest, self._cache, construction=self._construction
            )
        return self._approximate[name]

    def expected(self, key: str, question: Question) -> Answer:
        """The exact answer. Equal keys must mean questions that begin alike; then the answer is computed once."""
        queries = len(question.queries)
        known = self._answers.get(key)
        if known is None or known[0].shape[1] < question.k or len(known[0]) < queries:
            self.watch.step(f"{self.title}: the reference's answers")
            most = max(question.k, min(_MOST_K, self.data.n_items))
            known = self._answers[key] = self._reference.answer(replace(question, k=most))
        rows, scores = known
        return rows[:queries, : question.k], scores[:queries, : question.k]

    def checked(
        self,
        name: str,
        question: Question,
        batch: int,
        twist: str = "",
        make: Callable[[Question], Callable[[], Answer]] | None = None,
    ) -> Checked:
        """Make one of our contenders and compare the answer of each of its calls, once.

        Parameters
        ----------
        name : str
            Whose calls these are; k and the twist are added.
        question : Question
            All queries.
        batch : int
            Queries a call.
        twist : str
            What the question asks beyond inner products; names its answers.
        make : callable, optional
            Makes a call of a question; our Python class's by default.

        Returns
        -------
        Checked
            The contender, and how right it is.
        """
        full_name = f"{name}, k={question.k}" + (f", {twist}" if twist else "")
        known = self._checked.get((full_name, batch))
        if known is not None:
            return known
        make = make or self.ours.call
        rows, scores = self.expected(twist, question)
        self.watch.step(f"{self.title}: checking {full_name}, B={batch}")
        calls = [make(part) for part in question.split(batch)]
        mismatches = 0
        for number, call in enumerate(calls):
            place = slice(number * batch, (number + 1) * batch)
            mismatches += different(call(), (rows[place], scores[place]))
        known = Checked(Contender(full_name, calls), len(calls) * batch, mismatches)
        self._checked[full_name, batch] = known
        return known
