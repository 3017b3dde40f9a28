# One thread for every library, whatever each calls it.
"""Pin the threads of all contenders."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import faiss
import hnswlib  # noqa: F401  (its OpenMP must be loaded before it can be limited)
import torch
import usearch.index  # noqa: F401
from threadpoolctl import threadpool_limits

__all__ = ["building_threads", "n_cores", "one_thread", "without_stderr"]


@contextmanager
def one_thread() -> Iterator[None]:
    """Run on one thread: OpenMP and BLAS of every loaded library, faiss and torch.

    Libraries that take the number of threads call by call (onnxruntime, hnswlib, usearch, ScaNN, ours) are told there.
    """
    before = torch.get_num_threads(), faiss.omp_get_max_threads()
    with threadpool_limits(limits=1):
        torch.set_num_threads(1)
        faiss.omp_set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before[0])
            faiss.omp_set_num_threads(before[1])


@contextmanager
def building_threads() -> Iterator[int]:
    """All cores for faiss, to build an index with; yields how many."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(n_cores())
    try:
        yield n_cores()
    finally:
        faiss.omp_set_num_threads(before)


def n_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


@contextmanager
def without_stderr() -> Iterator[None]:
    """Send what native code writes to standard error to nowhere: ScaNN logs every step of a build there."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
