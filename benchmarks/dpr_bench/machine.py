# What a figure was measured on.
"""Describe the machine and the versions behind a measurement."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from dpr_infer import simd_level

__all__ = ["describe_machine"]


def describe_machine() -> dict[str, str | int]:
    """CPU, cores, SIMD level of the kernel, versions, and the commit of the working folder if it is a checkout."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count() or 1,
        "simd_level": simd_level(),
        "python": platform.python_version(),
        "onnxruntime": version("onnxruntime"),
        "numpy": version("numpy"),
        "dpr-infer": version("dpr-infer"),
        "commit": _commit(),
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.strip() or "unknown"
