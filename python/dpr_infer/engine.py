# Runs one graph. The protocol is what the runtime needs of an engine; onnxruntime is the engine there is.

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from dpr_infer._optional import import_onnxruntime
from dpr_infer.errors import BundleError, EngineError, ProviderError
from dpr_infer.graph_contract import check_actual, contract
from dpr_infer.manifest import Manifest, TensorSpec

Provider = str | tuple[str, dict[str, Any]]

_DTYPE = {"tensor(int64)": "int64", "tensor(float)": "float32"}
_ERRORS_ONLY = 3  # onnxruntime's severity; its warnings are about its own optimiser


class Engine(Protocol):
    """What the runtime needs of an engine. Calls from several threads at once must be safe."""

    def run(self, feed: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the graph's outputs, in the order of the contract, for inputs given by name."""


class OnnxEngine:
    """A graph that onnxruntime runs.

    Parameters
    ----------
    folder : Path
        The bundle's folder.
    manifest : Manifest
        The bundle's manifest.
    name : str
        Which of its graphs.
    threads : int
        Threads within one operator.
    providers : sequence
        Execution providers as onnxruntime takes them: names, or pairs of name and options.

    Raises
    ------
    MissingExtraError
        If onnxruntime is not installed.
    ProviderError
        If a provider is not available, or does not run although it was asked for.
    BundleError
        If the graph cannot be loaded, or is not the one that the manifest declares.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, name: str, *, threads: int, providers: Sequence[Provider]
    ) -> None:
        ort = import_onnxruntime()
        names = check_providers(providers, ort.get_available_providers())
        file = manifest.graphs[name].file
        try:
            session = ort.InferenceSession(
                str(folder / file), sess_options=_options(ort, threads), providers=list(providers)
            )
        except Exception as error:  # onnxruntime's exceptions have no base of their own
            raise BundleError(
                f"{file} must be a graph that onnxruntime can load: {_first_line(error)}"
            ) from error
        _check_active(names, session.get_providers())
        check_actual(name, manifest, _specs(session.get_inputs()), _specs(session.get_outputs()))
        self.name = name
        self.providers: tuple[str, ...] = tuple(session.get_providers())
        self._session_run = session.run
        self._outputs = list(contract(manifest.dims, manifest.format_version)[name][1])

    def run(self, feed: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Run the graph.

        Parameters
        ----------
        feed : dict of str to ndarray
            The inputs by name, C-contiguous, of the dtypes and shapes of the contract.

        Returns
        -------
        list of ndarray
            The outputs in the order of the contract.

        Raises
        ------
        EngineError
            If onnxruntime reports a failure.
        """
        try:
            outputs: list[NDArray[Any]] = self._session_run(self._outputs, feed)
        except Exception as error:
            raise EngineError(f"{self.name} failed to run: {_first_line(error)}") from error
        return outputs


def check_providers(providers: Sequence[Provider], available: Sequence[str]) -> list[str]:
    """Check that providers are well formed and available.

    Parameters
    ----------
    providers : sequence
        Names, or pairs of name and options.
    available : sequence of str
        What this build of onnxruntime offers.

    Returns
    -------
    list of str
        The names.

    Raises
    ------
    ProviderError
        If there is none, one is not available, or one is neither a name nor a pair.
    """
    if isinstance(providers, str) or not providers:
        raise ProviderError(f"providers must be a sequence of at least one provider; got {providers!r}")
    names = [entry[0] if isinstance(entry, tuple) and entry else entry for entry in providers]
    for name in names:
        if not isinstance(name, str) or name not in available:
            raise ProviderError(
                f"providers must be out of {', '.join(available)}, offered by this onnxruntime; got {name!r}"
            )
    return [str(name) for name in names]


def _check_active(asked: Sequence[str], active: Sequence[str]) -> None:
    missing = [name for name in asked if name not in active]
    if missing:
        raise ProviderError(
            f"{', '.join(missing)} must run, for it was asked for; onnxruntime could not start it, "
            f"it runs {', '.join(active)}"
        )


def _options(ort: Any, threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = _ERRORS_ONLY
    return options


def _specs(nodes: Sequence[Any]) -> list[TensorSpec]:
    return [
        TensorSpec(
            node.name,
            _DTYPE.get(node.type, node.type),
            tuple(d if isinstance(d, int) else d or "?" for d in node.shape or ()),
        )
        for node in nodes
    ]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
