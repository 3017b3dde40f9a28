# The core on 64-bit Arm: built by a cross compiler, its C++ tests run under an emulator, and its answers compared
# with those of this machine.
from __future__ import annotations

import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.debian("cmake", "cmake"),
    pytest.mark.debian("doctest-dev", "/usr/include/doctest/doctest.h"),
    pytest.mark.debian("g++-aarch64-linux-gnu", "aarch64-linux-gnu-g++"),
    pytest.mark.debian("qemu-user", "qemu-aarch64"),
]

_EMULATOR = ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"]


def _run(*command: str | Path) -> str:
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    return result.stdout


def _fields(output: str) -> list[list[str]]:
    return [line.split() for line in output.splitlines()]


def _build(root: Path, folder: Path, targets: list[str], *options: str) -> Path:
    options += ("-DDPR_PYTHON=OFF", "-DDPR_NATIVE_TESTS=ON", "-DDPR_WERROR=ON", "-DCMAKE_BUILD_TYPE=Release")
    _run("cmake", "-S", root, "-B", folder, *options)
    _run("cmake", "--build", folder, "--parallel", "2", "--target", *targets)
    return folder


@pytest.fixture(scope="module")
def arm(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a build for AArch64."""
    toolchain = f"-DCMAKE_TOOLCHAIN_FILE={root / 'cmake' / 'aarch64-linux.cmake'}"
    return _build(root, tmp_path_factory.mktemp("arm"), ["dpr_native_tests", "answer_checksum"], toolchain)


@pytest.fixture(scope="module")
def lines_on_arm(arm: Path) -> list[list[str]]:
    """Case, level and checksum, line by line."""
    return _fields(_run(*_EMULATOR, arm / "tests/native/answer_checksum"))


def test_the_native_tests_pass_on_arm(arm: Path) -> None:
    output = _run("ctest", "--test-dir", arm, "--output-on-failure")
    assert "100% tests passed" in output


def test_the_levels_on_arm_are_scalar_and_neon(lines_on_arm: list[list[str]]) -> None:
    assert {level for _, level, _ in lines_on_arm} == {"scalar", "neon"}


def test_indexes_and_answers_have_the_same_bits_on_arm_and_here(
    root: Path, lines_on_arm: list[list[str]], tmp_path: Path
) -> None:
    here = _build(root, tmp_path, ["answer_checksum"])
    lines_here = _fields(_run(here / "tests/native/answer_checksum"))
    assert {case for case, _, _ in lines_here} == {case for case, _, _ in lines_on_arm}
    checksums = defaultdict(set)
    for case, _, checksum in lines_here + lines_on_arm:
        checksums[case].add(checksum)
    assert len(checksums) == 100
    assert [case for case, found in checksums.items() if len(found) != 1] == []
