# Who takes part, how each is opened, and who had to be left out and why.
"""The contenders: dpr-infer and what one would write without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import faiss
import torch
from threadpoolctl import threadpool_limits

from dpr_bench.latency.numpy_ranking import FaissRanking, NumpyRanking, Ranking
from dpr_bench.latency.onnx_peer import OnnxPipeline
from dpr_bench.latency.ours import OurPipeline
from dpr_bench.latency.pipeline import F32, Pipeline
from dpr_bench.latency.questions import Questions
from dpr_bench.latency.torch_peers import CompiledPipeline, EagerPipeline, OptimisedPipeline
from dpr_infer.manifest import Manifest

__all__ = [
    "COMPILED",
    "EAGER",
    "FAISS",
    "INT8",
    "NUMPY",
    "OPENVINO",
    "OPTIMISED",
    "OURS",
    "Contender",
    "Models",
    "limited_threads",
    "list_contenders",
    "open_contenders",
]

OURS = "dpr-infer"
INT8 = "dpr-infer, int8 prompt encoder"
OPENVINO = "dpr-infer, OpenVINO"
NUMPY = "onnxruntime + NumPy"
FAISS = "onnxruntime + faiss"
EAGER = "PyTorch eager"
OPTIMISED = "PyTorch eager, optimised"
COMPILED = "torch.compile, optimised"


@dataclass(frozen=True, kw_only=True)
class Models:
    """The same model in all forms that contenders open.

    Attributes
    ----------
    bundle : Path
        The bundle that is measured.
    float32 : Path
        A bundle of the same checkpoint with a float32 prompt encoder; that bundle itself where it has one.
    plain_graphs : Path
        Folder of the graphs of `export_plain_graphs`, float32.
    checkpoint : Path
        The checkpoint.
    """

    bundle: Path
    float32: Path
    plain_graphs: Path
    checkpoint: Path


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A pipeline that can be opened.

    Attributes
    ----------
    name : str
        In tables.
    open : callable
        Opens it with a number of threads.
    exact : bool
        Whether it computes in float32 what dpr-infer does, and so must find the same items.
    quick : bool
        Whether opening it takes seconds at most.
    """

    name: str
    open: Callable[[int], Pipeline]
    exact: bool = True
    quick: bool = True


def list_contenders(
    models: Models, questions: Questions, *, compiled: bool
) -> tuple[list[Contender], dict[str, str]]:
    """All contenders, dpr-infer first, and why others are not among them.

    Parameters
    ----------
    models : Models
        What they open.
    questions : Questions
        What `torch.compile` compiles on.
    compiled : bool
        Whether it takes part.

    Returns
    -------
    contenders : list of Contender
        Those that can be tried.
    left_out : dict of str to str
        Reasons, by name.
    """
    left_out = {}
    listed = [Contender(name=OURS, open=lambda threads: OurPipeline(models.float32, threads))]
    if models.bundle != models.float32:
        listed.append(
            Contender(name=INT8, open=lambda threads: OurPipeline(models.bundle, threads), exact=False)
        )
    else:
        left_out[INT8] = "the bundle's prompt encoder is float32"
    if find_spec("openvino") is not None:
        listed.append(
            Contender(
                name=OPENVINO,
                open=lambda threads: OurPipeline(models.float32, threads, engine="openvino"),
                exact=False,
            )
        )
    else:
        left_out[OPENVINO] = "openvino is not installed"
    listed += [
        Contender(name=name, open=partial(_open_onnx, models, ranking))
        for name, ranking in ((NUMPY, NumpyRanking), (FAISS, FaissRanking))
    ]
    listed += [
        Contender(name=EAGER, open=lambda _: EagerPipeline(models.checkpoint)),
        Contender(name=OPTIMISED, open=lambda _: OptimisedPipeline(models.checkpoint)),
    ]
    if compiled:
        batches = [batch for size in (1, 8) for batch in questions.batches(size, 2)]
        listed.append(
            Contender(name=COMPILED, open=lambda _: CompiledPipeline(models.checkpoint, batches), quick=False)
        )
    else:
        left_out[COMPILED] = "a quick run does not compile"
    return listed, left_out


def _open_onnx(models: Models, ranking: Callable[[Manifest, F32], Ranking], threads: int) -> Pipeline:
    return OnnxPipeline(models.float32, models.plain_graphs, threads, ranking)


def open_contenders(
    contenders: list[Contender], threads: int, left_out: dict[str, str]
) -> Mapping[str, Pipeline]:
    """Open all that open, by name.

    `torch.compile` may fail for reasons of the machine, such as no C++ compiler; then it is noted in `left_out`.
    """
    opened: dict[str, Pipeline] = {}
    for contender in contenders:
        try:
            opened[contender.name] = contender.open(threads)
        except Exception as error:  # the compiler's errors have no base of their own
            if contender.quick:
                raise
            said = (str(error).strip().splitlines() or [""])[0]
            left_out[contender.name] = f"does not compile here: {type(error).__name__}: {said}"[:300]
    return opened


@contextmanager
def limited_threads(threads: int) -> Iterator[None]:
    """So many threads for BLAS, OpenMP, torch and faiss; onnxruntime, OpenVINO and dpr-infer are told when opened."""
    before = torch.get_num_threads(), faiss.omp_get_max_threads()
    with threadpool_limits(limits=threads):
        torch.set_num_threads(threads)
        faiss.omp_set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before[0])
            faiss.omp_set_num_threads(before[1])
