# The fuzz target builds, runs, and finds nothing in a few seconds. `make fuzz` runs it for longer.
from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def _fuzzer_library() -> str:
    """Return where clang looks for libFuzzer."""
    if shutil.which("clang++") is None:
        return "libclang_rt.fuzzer"
    command = ["clang++", f"-print-file-name=libclang_rt.fuzzer-{os.uname().machine}.a"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.debian("cmake", "cmake")
@pytest.mark.debian("clang", "clang++")
@pytest.mark.debian("libclang-rt-dev", _fuzzer_library())
def test_hostile_indexes_do_no_harm(root: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
    done = subprocess.run(
        ["make", "fuzz", "FUZZ_SECONDS=5"], cwd=root, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-5000:]
    (count,) = (line for line in done.stderr.splitlines() if "number_of_executed_units" in line)
    assert int(count.split()[-1]) > 100
