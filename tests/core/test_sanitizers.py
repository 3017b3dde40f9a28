# The C++ tests, instrumented: no memory error and no undefined behaviour, no data race.
from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest


@pytest.mark.debian("cmake", "cmake")
@pytest.mark.debian("doctest-dev", "/usr/include/doctest/doctest.h")
@pytest.mark.parametrize("sanitizer", ["address", "thread"])
def test_the_cpp_tests_pass_under(sanitizer: str, root: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
    done = subprocess.run(
        ["make", f"sanitize-{sanitizer}"], cwd=root, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    assert "100% tests passed" in done.stdout
