# The stand-in for TensorRT has no name, and no parameter, that the real API lacks. The code itself is held to the
# same stubs by mypy.

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

import fake_tensorrt
from mend_tensorrt_stubs import mend

STUBS = Path(__file__).parents[3] / ".venv" / "stubs" / "tensorrt_bindings" / "tensorrt.pyi"
# The stand-in's classes by the real ones' names.
CLASSES = {
    "Builder": fake_tensorrt.Builder,
    "OnnxParser": fake_tensorrt.OnnxParser,
    "Runtime": fake_tensorrt.Runtime,
    "IBuilderConfig": fake_tensorrt.BuilderConfig,
    "IOptimizationProfile": fake_tensorrt.OptimizationProfile,
    "ITimingCache": fake_tensorrt.TimingCache,
    "ICudaEngine": fake_tensorrt.Engine,
    "IExecutionContext": fake_tensorrt.ExecutionContext,
}


@pytest.fixture(scope="module")
def real() -> dict[str, dict[str, list[list[str]]]]:
    """Methods and properties of the real classes, each with the parameters of its overloads."""
    if not STUBS.is_file():
        pytest.skip("no stubs of TensorRT in .venv/stubs: make install")
    classes: dict[str, dict[str, list[list[str]]]] = {}
    for node in ast.parse(STUBS.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            members = classes.setdefault(node.name, {})
            for entry in node.body:
                if isinstance(entry, ast.FunctionDef):
                    members.setdefault(entry.name, []).append([a.arg for a in entry.args.args])
                elif isinstance(entry, ast.AnnAssign) and isinstance(entry.target, ast.Name):
                    members.setdefault(entry.target.id, [])
    return classes


@pytest.mark.parametrize("name", CLASSES)
def test_methods_and_parameters_are_the_real_ones(real, name):
    for method, function in inspect.getmembers(CLASSES[name], inspect.isfunction):
        if method.startswith("_"):
            continue
        parameters = list(inspect.signature(function).parameters)
        assert any(parameters == real_ones[: len(parameters)] for real_ones in real[name][method]), (
            f"{name}.{method}{parameters} is not {real[name].get(method)}"
        )


def test_properties_and_constants_are_the_real_ones(real):
    assert {"num_io_tensors", "num_optimization_profiles"} <= real["ICudaEngine"].keys()
    assert "num_errors" in real["OnnxParser"]
    assert "desc" in real["ParserError"]
    for name in ("DataType", "TensorIOMode", "BuilderFlag", "NetworkDefinitionCreationFlag"):
        assert {member.name for member in getattr(fake_tensorrt, name)} <= real[name].keys()
    assert {"ERROR", "WARNING"} <= real["Logger"].keys()


def test_definitions_that_are_no_python_are_mended():
    source = "class A:\n    def a(self, in: int) -> int:\n        '''Doc.'''\n    def b(self) -> int: ...\n"
    mended, count = mend(source)
    assert count == 1
    methods = {node.name for node in ast.walk(ast.parse(mended)) if isinstance(node, ast.FunctionDef)}
    assert methods == {"a", "b"}
    assert mend(mended) == (mended, 0)
