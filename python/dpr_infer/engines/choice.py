# Which engine runs the graphs, and how: what a caller may choose, checked, and the engines opened.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dpr_infer.engine import Engine, EngineFactory, Provider
from dpr_infer.engines.onnx_engine import OnnxEngine
from dpr_infer.engines.openvino_engine import PRECISIONS as OPENVINO_PRECISIONS
from dpr_infer.engines.openvino_engine import OpenVinoEngine
from dpr_infer.engines.providers import CPU
from dpr_infer.engines.tensorrt_engine import TensorRtEngine
from dpr_infer.engines.tensorrt_plans import PRECISIONS as TENSORRT_PRECISIONS
from dpr_infer.errors import QueryError
from dpr_infer.graph_contract import query_graphs
from dpr_infer.manifest import Manifest

# What each engine may be told to compute in; the first is the default. onnxruntime computes what the graph says.
_PRECISIONS: dict[str, tuple[str, ...]] = {
    "onnxruntime": (),
    "openvino": OPENVINO_PRECISIONS,
    "tensorrt": TENSORRT_PRECISIONS,
}
ENGINES = tuple(_PRECISIONS)
PRECISIONS = tuple(dict.fromkeys(name for names in _PRECISIONS.values() for name in names))


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineChoice:
    """The engine of a bundle's graphs. The fields are the parameters of `Recommender`; making one checks them.

    Raises
    ------
    QueryError
        If there is no such engine, or it does not take one of the other fields.
    """

    engine: str | EngineFactory = "onnxruntime"
    threads: int = 1
    providers: Sequence[Provider] | None = None
    allow_fallback: bool = False
    precision: str | None = None

    def __post_init__(self) -> None:
        engine = self.engine
        if callable(engine):
            engine = "a function"
        elif engine not in ENGINES:
            raise QueryError(f"engine must be one of {', '.join(ENGINES)}, or a function; got {engine!r}")
        if engine != "onnxruntime" and (self.providers is not None or self.allow_fallback):
            raise QueryError(
                f'providers and allow_fallback belong to engine="onnxruntime"; the engine is {engine}'
            )
        precisions = _PRECISIONS.get(engine, ())
        if self.precision is not None and self.precision not in precisions:
            expected = f"one of {', '.join(precisions)}" if precisions else "None: the graphs say it"
            raise QueryError(f"precision with the engine {engine} must be {expected}; got {self.precision!r}")

    def open(self, folder: Path, manifest: Manifest) -> dict[str, Engine]:
        """Open an engine for every graph that queries run.

        Parameters
        ----------
        folder : Path
            The bundle's folder.
        manifest : Manifest
            Its manifest.

        Returns
        -------
        dict of str to Engine
            By the graph's name.

        Raises
        ------
        MissingExtraError, ProviderError, EngineError, BundleError
            As `Recommender`.
        """
        return {name: self._open(folder, manifest, name) for name in query_graphs(manifest)}

    def _open(self, folder: Path, manifest: Manifest, name: str) -> Engine:
        if callable(self.engine):
            return self.engine(folder, manifest, name)
        precision = self.precision or "fp32"
        if self.engine == "openvino":
            return OpenVinoEngine(folder, manifest, name, threads=self.threads, precision=precision)
        if self.engine == "tensorrt":
            return TensorRtEngine(folder, manifest, name, precision=precision)
        return OnnxEngine(
            folder,
            manifest,
            name,
            threads=self.threads,
            providers=[CPU] if self.providers is None else self.providers,
            allow_fallback=self.allow_fallback,
        )


def union(providers: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return what runs any of the graphs, each once, in the order in which they first appear."""
    return tuple(dict.fromkeys(name for names in providers.values() for name in names))
