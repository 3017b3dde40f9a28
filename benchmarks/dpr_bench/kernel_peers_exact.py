# Exact peers: what one would use without this engine to scan every item in float32.
"""Exact scans by other libraries, behind one signature."""

from __future__ import annotations

from typing import Any, Protocol

import faiss
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

__all__ = ["FlatPeer", "NumpyPeer", "OnnxPeer", "Peer", "TorchPeer"]

F32 = npt.NDArray[np.float32]
Rows = npt.NDArray[np.integer[Any]]

# A (B, N) matrix of scores is materialised in slices of queries: larger ones only cost page faults.
_MOST_SCORE_BYTES = 2**28
_MOST_INITIALIZER_BYTES = 2**30  # a protobuf ends at 2 GiB; larger catalogues are fed instead
_OPSET, _IR = 21, 10


class Peer(Protocol):
    """Finds the items with the largest inner products, on one thread."""

    name: str

    def search(self, queries: F32, k: int) -> Rows:
        """Rows of the k best items, best first.

        Parameters
        ----------
        queries : ndarray of float32, shape (B, D)
            C order.
        k : int
            At most N.

        Returns
        -------
        ndarray of int, shape (B, k)
            Rows.
        """


class FlatPeer:
    """faiss `IndexFlatIP` (a copy of the vectors), with or without BLAS.

    Parameters
    ----------
    index : IndexFlatIP
        Filled; two peers may share it.
    blas : bool
        Whether faiss multiplies matrices or loops over dot products; its threshold decides, and its default never
        lets a batch of a few hundred reach BLAS.
    """

    def __init__(self, index: faiss.IndexFlatIP, *, blas: bool) -> None:
        self.name = "faiss flat, BLAS" if blas else "faiss flat, no BLAS"
        self._threshold = 1 if blas else 1 << 30
        self._index = index

    def search(self, queries: F32, k: int) -> Rows:
        """See :class:`Peer`."""
        faiss.cvar.distance_compute_blas_threshold = self._threshold
        rows: Rows = self._index.search(queries, k)[1]
        return rows

    @staticmethod
    def both(vectors: F32) -> list[FlatPeer]:
        """One peer a setting, over one copy of the vectors."""
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        return [FlatPeer(index, blas=False), FlatPeer(index, blas=True)]


class OnnxPeer:
    """onnxruntime: one graph of MatMul and TopK; the catalogue is a constant, so that it may be packed beforehand.

    Parameters
    ----------
    vectors : ndarray of float32, shape (N, D)
        The items; above 1 GiB they are an input, because a model file cannot hold them.
    """

    def __init__(self, vectors: F32) -> None:
        self.name = "onnxruntime"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        fed = vectors.nbytes > _MOST_INITIALIZER_BYTES
        transposed = np.ascontiguousarray(vectors.T)
        model = _matmul_top_k(transposed, fed=fed).SerializeToString()
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._fixed = {"vectors": transposed} if fed else {}
        self._slice = max(1, _MOST_SCORE_BYTES // (4 * len(vectors)))

    @staticmethod
    def copies(vectors: F32) -> float:
        """How many times the vectors' memory it takes to get ready: transposed; and as model, as file and packed."""
        return 1.0 if vectors.nbytes > _MOST_INITIALIZER_BYTES else 4.0

    def search(self, queries: F32, k: int) -> Rows:
        """See :class:`Peer`."""
        width = np.array([k], dtype=np.int64)
        if len(queries) <= self._slice:
            rows: Rows = self._session.run(["rows"], {"queries": queries, "k": width, **self._fixed})[0]
            return rows
        parts = [queries[at : at + self._slice] for at in range(0, len(queries), self._slice)]
        return np.concatenate([self.search(part, k) for part in parts])


class TorchPeer:
    """PyTorch: `torch.topk` of one matrix product, over the same memory.

    Parameters
    ----------
    vectors : ndarray of float32, shape (N, D)
        The items.
    """

    def __init__(self, vectors: F32) -> None:
        self.name = "torch"
        self._transposed = torch.from_numpy(vectors).T
        self._slice = max(1, _MOST_SCORE_BYTES // (4 * len(vectors)))

    def search(self, queries: F32, k: int) -> Rows:
        """See :class:`Peer`."""
        with torch.inference_mode():
            parts = torch.split(torch.from_numpy(queries), self._slice)
            rows = torch.cat([torch.topk(part @ self._transposed, k).indices for part in parts])
        return rows.numpy()


class NumpyPeer:
    """NumPy: matrix product, `argpartition`, sorting of what is left; over the same memory.

    Parameters
    ----------
    vectors : ndarray of float32, shape (N, D)
        The items.
    """

    def __init__(self, vectors: F32) -> None:
        self.name = "numpy"
        self._vectors = vectors
        self._slice = max(1, _MOST_SCORE_BYTES // (4 * len(vectors)))

    def search(self, queries: F32, k: int) -> Rows:
        """See :class:`Peer`."""
        parts = range(0, len(queries), self._slice)
        return np.concatenate([self._some(queries[at : at + self._slice], k) for at in parts])

    def _some(self, queries: F32, k: int) -> Rows:
        scores = queries @ self._vectors.T
        rows = np.argpartition(scores, -k, axis=1)[:, -k:]
        order = np.argsort(-np.take_along_axis(scores, rows, axis=1), axis=1, kind="stable")
        return np.take_along_axis(rows, order, axis=1)


def _matmul_top_k(vectors: F32, *, fed: bool) -> onnx.ModelProto:
    """Queries (B, D), k (1,) -> rows (B, k); vectors (D, N)."""
    inputs = [
        helper.make_tensor_value_info("queries", TensorProto.FLOAT, ["B", len(vectors)]),
        helper.make_tensor_value_info("k", TensorProto.INT64, [1]),
    ]
    constants = []
    if fed:
        inputs.append(helper.make_tensor_value_info("vectors", TensorProto.FLOAT, list(vectors.shape)))
    else:
        constants.append(numpy_helper.from_array(vectors, "vectors"))
    nodes = [
        helper.make_node("MatMul", ["queries", "vectors"], ["scores"]),
        helper.make_node("TopK", ["scores", "k"], ["values", "rows"], axis=1, largest=1, sorted=1),
    ]
    outputs = [helper.make_tensor_value_info("rows", TensorProto.INT64, ["B", "K"])]
    graph = helper.make_graph(nodes, "scan", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
