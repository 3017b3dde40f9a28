# A graph that onnxruntime runs. The engine by default.

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dpr_infer._optional import import_onnxruntime
from dpr_infer.engine import Provider, first_line
from dpr_infer.engines.cuda_provider import with_full_precision
from dpr_infer.engines.providers import CPU, chains, check_providers, obtainable, provider_name
from dpr_infer.engines.tensorrt_provider import with_bundle_options
from dpr_infer.errors import BundleError, EngineError, ProviderError
from dpr_infer.graph_contract import check_actual, contract
from dpr_infer.manifest import Manifest, TensorSpec

_DTYPE = {"tensor(int64)": "int64", "tensor(float)": "float32"}
_ERRORS_ONLY = 3  # onnxruntime's severity; its warnings are about its own optimiser
_RECORD_ASSIGNMENT = "session.record_ep_graph_assignment_info"
# On the CPU onnxruntime's own operator for a sum and the layer norm behind it takes longer than the two one after the
# other (docs/engines.md).
_SLOWER_ON_CPU = ("SkipLayerNormFusion",)


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
    allow_fallback : bool
        Do without providers that can't be had, down to the CPU, instead of raising.

    Raises
    ------
    MissingExtraError
        If onnxruntime is not installed.
    ProviderError
        If a provider is not available, or does not start although it was asked for.
    BundleError
        If the graph cannot be loaded, or is not the one that the manifest declares.
    """

    on_cpu: bool

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        name: str,
        *,
        threads: int,
        providers: Sequence[Provider],
        allow_fallback: bool = False,
    ) -> None:
        ort = import_onnxruntime()
        asked = obtainable(
            check_providers(providers), ort.get_available_providers(), allow_fallback=allow_fallback
        )
        completed = with_bundle_options(with_full_precision(asked), folder, manifest, name)
        session = _start(ort, folder, manifest, name, completed, threads)
        if not allow_fallback:
            _check_started(asked, session.get_providers(), ort.get_available_providers())
        check_actual(name, manifest, _specs(session.get_inputs()), _specs(session.get_outputs()))
        self.name = name
        self.providers: tuple[str, ...] = _running(session)
        self.on_cpu = self.providers[0] == CPU
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
            raise EngineError(f"{self.name} failed to run: {first_line(error)}") from error
        return outputs


def _start(
    ort: Any, folder: Path, manifest: Manifest, name: str, providers: Sequence[Provider], threads: int
) -> Any:
    """Return a session with as many of the providers as start, first ones given up first.

    Some providers that do not start make onnxruntime raise, others make it go on without them. Whether it is the
    graph that is at fault shows when the CPU is tried.
    """
    file = manifest.graphs[name].file
    tries = chains(providers)
    for attempt in tries:
        try:
            return ort.InferenceSession(
                str(folder / file),
                sess_options=_options(ort, threads),
                providers=attempt,
                enable_fallback=0,  # onnxruntime's own prints what it does, and tells nobody else
                disabled_optimizers=list(_SLOWER_ON_CPU) if _is_cpu_alone(attempt) else None,
            )
        except Exception as error:  # onnxruntime's exceptions have no base of their own
            if attempt is tries[-1]:
                raise BundleError(
                    f"{file} must be a graph that onnxruntime can load: {first_line(error)}"
                ) from error
    raise AssertionError("unreachable: there is always something to try")


def _is_cpu_alone(providers: Sequence[Provider]) -> bool:
    return all(provider_name(entry) == CPU for entry in providers)


def _check_started(asked: Sequence[Provider], started: Sequence[str], available: Sequence[str]) -> None:
    missing = [provider_name(entry) for entry in asked if provider_name(entry) not in started]
    if missing:
        raise ProviderError(
            f"{', '.join(missing)} must run, for it was asked for; this onnxruntime has "
            f"{', '.join(available)} but could start only {', '.join(started)} on this machine, and says why on "
            f"stderr. allow_fallback=True does without what does not start"
        )


def _running(session: Any) -> tuple[str, ...]:
    """Return the providers that the graph's nodes were given to, most preferred first."""
    started: list[str] = session.get_providers()
    tell = getattr(session, "get_provider_graph_assignment_info", None)  # older ones can't tell
    used = {part.ep_name for part in tell()} if tell is not None else set(started)
    return tuple(name for name in started if name in used) or tuple(started)


def _options(ort: Any, threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry(_RECORD_ASSIGNMENT, "1")
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
