# Another compiler must build the core without a warning, and give the same bits: nothing rests on what gcc happens
# to do with floats.
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import dpr_infer._core

_SEARCH = """
import importlib.util
import sys
import numpy as np

spec = importlib.util.spec_from_file_location("dpr_infer._core", sys.argv[2])
core = importlib.util.module_from_spec(spec)
spec.loader.exec_module(core)
Catalogue, ScoreRule, supported_simd_levels = core.Catalogue, core.ScoreRule, core.supported_simd_levels
rng = np.random.default_rng(7)
found = {}
for dim in (3, 64, 100):
    vectors, user = rng.standard_normal((300, dim), np.float32), rng.standard_normal((4, dim - 2), np.float32)
    experts, gates = rng.standard_normal((4, 3, dim), np.float32), rng.random((4, 3), np.float32)
    for phi in ("relu", "softplus"):
        rule = ScoreRule(roles=["toward", "away", "away"], biases=[0.0, -0.5, 0.25], phi=phi, gain=3.0)
        strength = np.full(4, 0.7, np.float32)
        for level in supported_simd_levels():
            rows, scores = Catalogue(vectors, simd_level=level).search(
                user, experts, gates, rule=rule, strength=strength, k=50
            )
            found[f"{dim} {phi} {level} rows"] = rows
            found[f"{dim} {phi} {level} scores"] = scores.view(np.int32)
items = rng.standard_normal((10000, 20), np.float32) + rng.standard_normal((10, 20), np.float32).repeat(1000, 0)
index = core.build_index(items, parts=[14, 6], threads=2)
for level in supported_simd_levels():
    catalogue = Catalogue(items, index=index, parts=[14, 6], simd_level=level)
    experts, gates = items[:9, None] * np.float32(0.5), np.ones((9, 1), np.float32)
    rule = ScoreRule(roles=["away"], biases=[0.1], phi="softplus", gain=2.0)
    for n in (1, 9):
        rows, scores = catalogue.search(
            items[:n], experts[:n], gates[:n], rule=rule, strength=np.full(n, 0.3, np.float32), k=30, threads=2
        )
        found[f"index {level} {n} rows"] = rows
        found[f"index {level} {n} scores"] = scores.view(np.int32)
found |= {f"index {name}": array for name, array in index.items()}
np.savez(sys.argv[1], **found)
"""


def _search(compiled: str, out: Path) -> dict[str, np.ndarray]:
    environment = {name: value for name, value in os.environ.items() if name != "DPR_SIMD_LEVEL"}
    subprocess.run([sys.executable, "-c", _SEARCH, str(out), compiled], check=True, env=environment)
    with np.load(out) as file:
        return dict(file)


@pytest.mark.debian("clang", "clang++")
def test_clang_builds_the_core_without_warnings_and_gives_the_same_bits(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "clang_site"
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(target), str(root)]
    command += [
        f"--config-settings=build-dir={tmp_path / 'build'}",
        "--config-settings=cmake.define.DPR_WERROR=ON",
    ]
    built = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "CXX": "clang++"})
    assert built.returncode == 0, built.stdout[-3000:] + built.stderr[-3000:]

    (compiled,) = (target / "dpr_infer").glob("_core*.so")
    ours = _search(dpr_infer._core.__file__, tmp_path / "ours.npz")
    theirs = _search(str(compiled), tmp_path / "theirs.npz")

    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
