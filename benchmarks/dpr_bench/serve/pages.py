# What all results of the server's benchmarks begin with, and how they are written.
"""Pages and JSON of results."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dpr_bench.machine import describe_machine
from dpr_bench.serve.processes import LOAD_CORE, SERVER_CORE

__all__ = ["describe_setup", "page", "table", "write_results"]

_PACKAGES = ("litestar", "uvicorn", "uvloop", "fastapi", "torch")


def describe_setup() -> dict[str, Any]:
    """The machine, the versions that a server's speed depends on, and which core did what."""
    versions = {package: version(package) for package in _PACKAGES}
    return {
        **describe_machine(),
        **versions,
        "wrk": _wrk_version(),
        "server_core": SERVER_CORE,
        "load_core": LOAD_CORE,
    }


def _wrk_version() -> str:
    if shutil.which("wrk") is None:
        return "none"
    said = subprocess.run(["wrk", "--version"], capture_output=True, text=True, check=False)  # noqa: S607
    return " ".join((said.stdout + said.stderr).split()[1:2]).removeprefix("debian/")


def page(title: str, command: str, setup: Mapping[str, Any], parts: Sequence[str]) -> str:
    """A Markdown page: title, what it was made by and on, and its parts, paragraphs or tables."""
    made = (
        f"Made by `{command}`. {setup['cpu']}, {setup['cores']} cores, SIMD level {setup['simd_level']}; "
        f"Python {setup['python']}, onnxruntime {setup['onnxruntime']}, torch {setup['torch']}, "
        f"Litestar {setup['litestar']}, FastAPI {setup['fastapi']}, uvicorn {setup['uvicorn']}, wrk {setup['wrk']}; "
        f"commit {setup['commit']}. {_cores(setup)} Everything on the loopback interface."
    )
    return "\n\n".join([f"# {title}", made, *parts]) + "\n"


def _cores(setup: Mapping[str, Any]) -> str:
    if setup["server_core"] == setup["load_core"]:
        return "Server and load share one core."
    return f"The server runs on core {setup['server_core']}, the load on core {setup['load_core']} (taskset)."


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, left: int = 1) -> str:
    """A Markdown table; the first `left` columns are aligned left, the others right."""
    lines = [
        f"| {' | '.join(columns)} |",
        f"| {' | '.join(['---'] * left + ['---:'] * (len(columns) - left))} |",
    ]
    lines += [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join(lines)


def write_results(
    out: Path, name: str, command: str, setup: Mapping[str, Any], document: Mapping[str, Any], text: str
) -> list[Path]:
    """Write ``name.json`` and ``name.md`` into a folder, made if it is not there; returns both paths."""
    out.mkdir(parents=True, exist_ok=True)
    whole = {"command": command, "machine": dict(setup), **document}
    paths = [out / f"{name}.json", out / f"{name}.md"]
    paths[0].write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    paths[1].write_text(text, encoding="utf-8")
    return paths
