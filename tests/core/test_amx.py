# The AMX kernels on a machine without AMX: their tile operations are computed by a model, either called in place of
# the instructions, or by a handler of the signals that the instructions raise.
from __future__ import annotations

import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dpr_infer._core import supported_simd_levels

pytestmark = [
    pytest.mark.skipif(
        sys.platform != "linux" or platform.machine() != "x86_64", reason="runs code of x86-64 Linux"
    ),
    pytest.mark.skipif(
        "avx512vnni" not in supported_simd_levels(), reason="the rest of the kernels is AVX-512"
    ),
]

_KERNELS = ["scan_i8_scalar.cc", "scan_i8_avx512vnni.cc", "scan_i8_amx.cc"]
_FLAGS = ["-std=c++17", "-O3", "-mavx512f", "-mavx512vnni", "-ffp-contract=off"]
_FLAGS += ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
# As in CMakeLists.txt: gcc 12 reports its own header.
_OF_COMPILER = {"g++": ["-Wno-maybe-uninitialized", "-Wno-uninitialized"], "clang++": []}


def _n_products(compiler: str, definitions: list[str], root: Path, out: Path) -> int:
    """Build and run the comparison; return how many products of tiles there were."""
    sources = [root / "csrc" / "kernels" / name for name in _KERNELS]
    sources.append(root / "tests" / "native" / "amx_compare.cc")
    folders = [f"-I{root / 'csrc'}", f"-I{root / 'tests' / 'native'}"]
    command = [compiler, *_FLAGS, *_OF_COMPILER[compiler], *definitions, *folders, *map(str, sources)]
    built = subprocess.run([*command, "-o", str(out)], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr[-4000:]
    compared = subprocess.run([str(out)], capture_output=True, text=True)
    assert compared.returncode == 0, compared.stdout[-4000:] + compared.stderr[-4000:]
    found = re.search(r" 0 wrong, (\d+) products of tiles$", compared.stdout.strip())
    assert found is not None, compared.stdout[-4000:]
    return int(found[1])


@pytest.mark.parametrize(
    "compiler",
    [
        pytest.param("g++", marks=pytest.mark.debian("g++", "g++")),
        pytest.param("clang++", marks=pytest.mark.debian("clang", "clang++")),
    ],
)
def test_the_kernels_equal_the_others_by_model_and_by_instruction(
    compiler: str, root: Path, tmp_path: Path
) -> None:
    by_model = _n_products(compiler, ["-DDPR_AMX_MODEL"], root, tmp_path / "model")
    by_instruction = _n_products(compiler, [], root, tmp_path / "instructions")
    assert by_model == by_instruction > 0
