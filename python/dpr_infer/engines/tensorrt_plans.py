# TensorRT plans beside a bundle: what one was built of and for, where it lies, and that no other machine reads it.
# A plan is a cache. The bundle's graphs are what counts, and a plan can be built from them again.

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from dpr_infer.bundle import ENGINES_FOLDER
from dpr_infer.errors import BundleError, EngineError
from dpr_infer.manifest import Manifest
from dpr_infer.strict_json import load_object

PRECISIONS = ("fp32", "fp16", "int8")
_FORMAT = "dpr-tensorrt-plan"
_FORMAT_VERSION = 2  # 1 did not tell two GPUs of one compute capability apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a plan is bound to: versions of TensorRT and of the driver's CUDA, the GPU and its compute capability."""

    tensorrt: str
    driver: str
    gpu: str
    sm: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanKey:
    """What a plan was built of and for. A plan with another key is not used.

    Attributes
    ----------
    graph : str
        Which of the bundle's graphs.
    graph_sha256 : str
        The SHA-256 of its file, as the manifest has it.
    precision : str
        One of PRECISIONS.
    tensorrt, driver, gpu, sm : str
        The machine.
    """

    graph: str
    graph_sha256: str
    precision: str
    tensorrt: str
    driver: str
    gpu: str
    sm: str

    @property
    def stem(self) -> str:
        """Name of the plan's files: for people, and different wherever the keys are."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]
        return f"{self.graph}-{self.precision}-sm{self.sm.replace('.', '')}-{digest}"

    def __str__(self) -> str:
        return (
            f"graph {self.graph_sha256[:12]}, {self.precision}, TensorRT {self.tensorrt}, driver CUDA {self.driver}, "
            f"{self.gpu}, SM {self.sm}"
        )


def plan_key(manifest: Manifest, graph: str, precision: str, machine: Machine) -> PlanKey:
    """Return the key of the plan that a machine needs for a graph."""
    sha256 = manifest.files[manifest.graphs[graph].file].sha256
    return PlanKey(graph=graph, graph_sha256=sha256, precision=precision, **asdict(machine))


def write_plan(bundle: Path, key: PlanKey, plan: bytes, notes: dict[str, Any]) -> Path:
    """Write a plan, and beside it what it is; each file appears whole or not at all, the description last.

    Parameters
    ----------
    bundle : Path
        The bundle's folder.
    key : PlanKey
        What the plan was built of and for.
    plan : bytes
        The plan.
    notes : dict
        More for people, as JSON.

    Returns
    -------
    Path
        The plan's file.
    """
    folder = bundle / ENGINES_FOLDER
    folder.mkdir(exist_ok=True)
    path, about = folder / f"{key.stem}.plan", folder / f"{key.stem}.json"
    description = {
        "format": _FORMAT,
        "format_version": _FORMAT_VERSION,
        "key": asdict(key),
        "bytes": len(plan),
        "sha256": hashlib.sha256(plan).hexdigest(),
        "notes": notes,
    }
    about.unlink(missing_ok=True)  # an older description must not stand beside a newer plan
    write_whole(path, plan)
    write_whole(about, (json.dumps(description, indent=2) + "\n").encode())
    return path


def read_plan(bundle: Path, key: PlanKey) -> bytes:
    """Read the plan that a key asks for.

    Parameters
    ----------
    bundle : Path
        The bundle's folder.
    key : PlanKey
        What is needed.

    Returns
    -------
    bytes
        The plan, as it was written.

    Raises
    ------
    EngineError
        If there is none. Where plans of the graph were built of or for something else, the message names both.
    """
    folder = bundle / ENGINES_FOLDER
    others = []
    for about in sorted(folder.glob(f"{key.graph}-*.json")) if folder.is_dir() else []:
        found, size, sha256 = _describe(about)
        if found != key:
            others.append(found)
            continue
        return _read_checked(about.with_suffix(".plan"), size, sha256)
    raise EngineError(
        f"engines/ must have a TensorRT plan of {key.graph} for this bundle and machine ({key}); "
        f"got {'; '.join(f'one for {other}' for other in others) or 'none'}. "
        f"dpr-export BUNDLE --engine tensorrt --engine-precision {key.precision} builds it"
    )


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place, and move it there."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _describe(about: Path) -> tuple[PlanKey, int, str]:
    try:
        root = load_object(about.read_bytes(), f"engines/{about.name}")
        root["format"].one_of(_FORMAT)
        root["format_version"].integer(_FORMAT_VERSION, _FORMAT_VERSION)
        key = PlanKey(**{field.name: root["key"][field.name].string() for field in fields(PlanKey)})
        return key, root["bytes"].integer(0, 2**50), root["sha256"].string()
    except (BundleError, OSError) as error:
        raise EngineError(f"{error}; delete engines/, which is only a cache, and build it again") from error


def _read_checked(path: Path, size: int, sha256: str) -> bytes:
    """Read a plan. The checksum finds damage; it does not make a stranger's plan safe to load."""
    plan = path.read_bytes() if path.is_file() else b""
    if len(plan) != size or hashlib.sha256(plan).hexdigest() != sha256:
        raise EngineError(
            f"engines/{path.name} must have {size} bytes and the SHA-256 {sha256[:12]}...; got {len(plan)} bytes. "
            f"Delete engines/, which is only a cache, and build it again"
        )
    return plan
