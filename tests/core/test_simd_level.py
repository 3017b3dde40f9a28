# Which level runs: reported, forced by argument or environment, and refused when the machine has it not.
import os
import pathlib
import platform
import subprocess
import sys

import numpy as np
import pytest

from dpr_infer._core import Catalogue, simd_level, supported_simd_levels

X86_LEVELS = ["scalar", "avx2", "avx512vnni", "amx"]
ARM_LEVELS = ["scalar", "neon"]
ALL_LEVELS = X86_LEVELS if platform.machine() in ("x86_64", "AMD64") else ARM_LEVELS
VECTORS = np.ones((3, 2), np.float32)
VARIABLE = "DPR_SIMD_LEVEL"


def run(code: str, level: str | None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    if level is not None:
        environment[VARIABLE] = level
    program = f"import numpy as np\nfrom dpr_infer._core import *\n{code}"
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)


def test_supported_levels_ascend_from_scalar() -> None:
    levels = supported_simd_levels()
    assert levels[0] == "scalar"
    assert levels == ALL_LEVELS[: len(levels)]


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="reads the flags of /proc/cpuinfo"
)
def test_supported_levels_are_what_the_kernel_reports() -> None:
    lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    flags = set(next((line.split() for line in lines if line.startswith("flags")), []))
    levels = supported_simd_levels()
    assert ("avx2" in levels) == ({"avx2", "fma"} <= flags)
    assert ("avx512vnni" in levels) == ({"avx2", "fma", "avx512f", "avx512_vnni"} <= flags)
    assert "amx" not in levels or {"amx_tile", "amx_int8"} <= flags


def test_the_default_is_the_highest_but_amx() -> None:
    result = run("print(simd_level(), Catalogue(np.ones((1, 1), np.float32)).simd_level)", None)
    highest = [level for level in supported_simd_levels() if level != "amx"][-1]
    assert result.stdout.split() == [highest] * 2


@pytest.mark.parametrize("level", supported_simd_levels())
def test_forced_by_the_environment(level: str) -> None:
    code = (
        "catalogue = Catalogue(np.eye(3, dtype=np.float32))\n"
        "one = np.ones((1, 3), np.float32)\n"
        "rule = ScoreRule(roles=[], biases=[], phi='relu')\n"
        "rows, _ = catalogue.search(one, one[:, :0, None].repeat(3, 2), one[:, :0].copy(), rule=rule,"
        " strength=one[0, :1].copy(), k=2)\n"
        "print(simd_level(), catalogue.simd_level, rows.tolist())"
    )
    result = run(code, level)
    assert result.stdout.strip() == f"{level} {level} [[0, 1]]", result.stderr


@pytest.mark.parametrize("level", ["sse2", "AVX2", "", "avx512", "avx512vnni "])
@pytest.mark.parametrize("call", ["simd_level()", "Catalogue(np.ones((1, 1), np.float32))"])
def test_an_unknown_level_in_the_environment_is_an_error(level: str, call: str) -> None:
    result = run(call, level)
    assert result.returncode == 1
    assert f"ValueError: environment variable {VARIABLE}: expected a level" in result.stderr
    assert f"got '{level}'" in result.stderr


@pytest.mark.parametrize("level", supported_simd_levels())
def test_forced_by_argument(level: str) -> None:
    assert Catalogue(VECTORS, simd_level=level).simd_level == level


def test_the_argument_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "nonsense")
    assert Catalogue(VECTORS, simd_level="scalar").simd_level == "scalar"
    with pytest.raises(ValueError, match=VARIABLE):
        simd_level()


@pytest.mark.parametrize("level", sorted({*X86_LEVELS, *ARM_LEVELS} - {*supported_simd_levels()}))
def test_an_unsupported_level_is_an_error(level: str) -> None:
    with pytest.raises(ValueError, match=f"simd_level: expected a level .*scalar.* got '{level}'"):
        Catalogue(VECTORS, simd_level=level)
