# Builds what runs a bundle's graphs on this machine, compares it with onnxruntime, and puts it beside the bundle.
"""Engines of a bundle: TensorRT plans."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import onnx

from dpr_export.errors import ExportError
from dpr_export.recorded_calls import Calls, check_alike, record_calls
from dpr_export.tensorrt_build import PlanBuilder
from dpr_export.tensorrt_graph import ATTENTION, check_float, to_float16, to_int8, without_attention
from dpr_infer._optional import require_tensorrt
from dpr_infer.bundle import ENGINES_FOLDER, check_files, check_hash, read_manifest
from dpr_infer.engines.cuda import Cuda
from dpr_infer.engines.profiles import MAX_BATCH, profiles
from dpr_infer.engines.tensorrt_engine import TensorRtEngine, machine
from dpr_infer.engines.tensorrt_plans import PRECISIONS, Machine, plan_key, write_plan, write_whole
from dpr_infer.graph_contract import contract, query_graphs
from dpr_infer.manifest import Manifest

__all__ = ["BOUNDS", "build_tensorrt", "prepared_graph"]

# Largest error of a plan against onnxruntime in float32, as `check_alike` takes it. The first is that of two float32
# engines; float16 moved nothing by more than 4e-4 when it was computed by onnxruntime; int8 is held to the exporter's
# own bound of an int8 prompt encoder, and the graphs behind it are not quantised.
BOUNDS = {"fp32": 1e-4, "fp16": 1e-2, "int8": 0.2}
_QUANTISED = "prompt_encoder"


def build_tensorrt(
    bundle: Path,
    *,
    precision: str = "fp32",
    max_batch: int = MAX_BATCH,
    say: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Build a TensorRT plan for every graph of a bundle, for this machine, into the bundle's folder engines/.

    Parameters
    ----------
    bundle : Path
        A whole bundle. Nothing in it is changed but that folder.
    precision : {"fp32", "fp16", "int8"}
        Of weights and sums. int8 is for the prompt encoder alone; the other graphs stay in float32.
    max_batch : int
        Most queries that a plan takes at once, >= 1; larger batches are run in parts.
    say : callable
        Told what is being done.

    Returns
    -------
    list of Path
        The plans.

    Raises
    ------
    MissingExtraError
        If TensorRT or cuda-bindings is not installed.
    EngineError
        If there is no GPU.
    BundleError
        If the bundle is not whole.
    ExportError
        If TensorRT can't build a plan.
    ParityError
        If a plan differs from onnxruntime beyond the bound; it is not kept.
    """
    require_tensorrt()
    if precision not in PRECISIONS:
        raise ExportError(f"engine precision: expected one of {', '.join(PRECISIONS)}, got {precision!r}")
    manifest = read_manifest(bundle)
    check_files(bundle, manifest)
    here = machine(Cuda())
    timings = bundle / ENGINES_FOLDER / f"timings-sm{here.sm.replace('.', '')}-{here.tensorrt}.cache"
    builder = PlanBuilder(timings.read_bytes() if timings.is_file() else b"")
    say("asking the bundle about its tags, to compare with")
    calls = record_calls(bundle)
    plans = []
    for name in query_graphs(manifest):
        say(f"building {name} with TensorRT {here.tensorrt} for SM {here.sm}, {precision} (minutes)")
        plans.append(_build(bundle, manifest, name, precision, max_batch, builder, here, calls))
        write_whole(timings, builder.timing_cache)
    return plans


def _build(
    bundle: Path,
    manifest: Manifest,
    name: str,
    precision: str,
    max_batch: int,
    builder: PlanBuilder,
    here: Machine,
    calls: Calls,
) -> Path:
    file = manifest.graphs[name].file
    check_hash(bundle, file, manifest.files[file])  # the plan's key says that it was built of this file
    model = onnx.load(bundle / file)
    model = prepared_graph(model, file, name, precision, calls, attention=builder.supports(ATTENTION))
    ranges = profiles(manifest, name, max_batch)
    plan = builder.build(name, model.SerializeToString(), ranges, tf32=precision == "fp16")
    notes = {"max_batch": max_batch, "made_by": {"dpr_infer": version("dpr-infer"), "onnx": onnx.__version__}}
    key = plan_key(manifest, name, precision, here)
    # Whoever opens the bundle must not find a plan that nobody compared.
    with tempfile.TemporaryDirectory() as trial:
        write_plan(Path(trial), key, plan, notes)
        engine = TensorRtEngine(Path(trial), manifest, name, precision=precision)
        outputs = list(contract(manifest.dims, manifest.format_version)[name][1])
        check_alike(name, outputs, calls[name], engine, _bound(name, precision))
    return write_plan(bundle, key, plan, notes)


def prepared_graph(
    model: onnx.ModelProto, file: str, name: str, precision: str, calls: Calls, *, attention: bool
) -> onnx.ModelProto:
    """Return a graph as TensorRT should read it.

    Parameters
    ----------
    model : ModelProto
        The bundle's graph, in float32.
    file : str
        Its file, for messages.
    name : str
        Which graph.
    precision : {"fp32", "fp16", "int8"}
        What to compute in.
    calls : dict of str to list of Call
        Recorded calls, to take scales from.
    attention : bool
        Whether TensorRT has the operator Attention.

    Returns
    -------
    ModelProto
        A graph with the same inputs and outputs.

    Raises
    ------
    ExportError
        If the bundle's graph is already quantised.
    """
    check_float(model, file)
    if precision == "int8" and name == _QUANTISED:
        model = to_int8(model, calls[name])
    if not attention:
        model = without_attention(model)
    return to_float16(model) if precision == "fp16" else model


def _bound(name: str, precision: str) -> float:
    return BOUNDS["fp32" if precision == "int8" and name != _QUANTISED else precision]
