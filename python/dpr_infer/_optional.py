# Guarded imports of what the extras bring. Nothing here is imported before it is needed.

from __future__ import annotations

import importlib
import os
from types import ModuleType

from dpr_infer.errors import MissingExtraError


def import_onnxruntime() -> ModuleType:
    """Import onnxruntime, with its telemetry off unless ORT_DISABLE_TELEMETRY says otherwise.

    Returns
    -------
    module
        The onnxruntime module.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    # Official builds since 1.29 send events to their maker, about the models too. It is read once, at the first import.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise MissingExtraError(
            "opening a bundle needs onnxruntime; install dpr-infer[cpu] or dpr-infer[gpu], not both "
            f"(import failed: {error})"
        ) from error


def import_hnswlib() -> ModuleType:
    """Import hnswlib.

    Returns
    -------
    module
        The hnswlib module.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    try:
        return importlib.import_module("hnswlib")
    except ImportError as error:
        raise MissingExtraError(
            f"an HNSW index needs hnswlib; install dpr-infer[hnsw] (import failed: {error})"
        ) from error


def require_cli() -> None:
    """Check that the command line's dependencies are installed.

    Raises
    ------
    MissingExtraError
        If typer or rich is not.
    """
    for name in ("typer", "rich"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise MissingExtraError(f"this command needs dpr-infer[cli] (import failed: {error})") from error


def require_serve() -> None:
    """Check that the server's dependencies are installed.

    Raises
    ------
    MissingExtraError
        If one of them is not.
    """
    for name in ("httptools", "litestar", "msgspec", "prometheus_client", "uvicorn", "uvloop"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise MissingExtraError(f"dpr-serve needs dpr-infer[serve] (import failed: {error})") from error


def import_opentelemetry() -> ModuleType:
    """Import OpenTelemetry's SDK.

    Returns
    -------
    module
        The opentelemetry.sdk module.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    try:
        return importlib.import_module("opentelemetry.sdk")
    except ImportError as error:
        raise MissingExtraError(f"traces need dpr-infer[otel] (import failed: {error})") from error


def import_openvino() -> ModuleType:
    """Import OpenVINO.

    Returns
    -------
    module
        The openvino module.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise MissingExtraError(
            f'engine="openvino" needs OpenVINO; install dpr-infer[openvino] (import failed: {error})'
        ) from error


def require_tensorrt() -> None:
    """Check that TensorRT is installed, and not only something that goes by its name.

    Raises
    ------
    MissingExtraError
        If it is not.
    """
    try:
        module = importlib.import_module("tensorrt")
    except ImportError as error:
        raise MissingExtraError(
            f'engine="tensorrt" needs TensorRT; install dpr-infer[tensorrt] (import failed: {error})'
        ) from error
    if not hasattr(module, "Runtime"):  # packages of type stubs leave an empty folder of that name
        raise MissingExtraError(
            'engine="tensorrt" needs TensorRT; install dpr-infer[tensorrt] '
            "(there is a package tensorrt, and nothing in it)"
        )


def import_cuda_runtime() -> ModuleType:
    """Import the CUDA runtime's bindings.

    Returns
    -------
    module
        cuda.bindings.runtime.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    try:
        return importlib.import_module("cuda.bindings.runtime")
    except ImportError as error:
        raise MissingExtraError(
            f'engine="tensorrt" needs cuda-bindings; install dpr-infer[tensorrt] (import failed: {error})'
        ) from error
