# Who may import whom (docs/design.md, "Layers"), read off the sources and checked once more on a running process.

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tiny_bundle

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "dpr_infer": ROOT / "python" / "dpr_infer",
    "dpr_export": ROOT / "export" / "dpr_export",
    "dpr_train": ROOT / "training" / "dpr_train",
    "dpr_bench": ROOT / "benchmarks" / "dpr_bench",
}
# What a package may not import, directly or lazily.
FORBIDDEN = {
    "dpr_infer": {"torch", "onnx", "onnxscript", "transformers", "dpr_train", "dpr_export", "dpr_bench"},
    "dpr_export": {"dpr_bench"},
    "dpr_train": {"onnx", "onnxruntime", "onnxscript", "dpr_infer", "dpr_export", "dpr_bench"},
    "dpr_bench": set(),
}
# A checkpoint is meaningless without the classes it holds the weights of, and what int8 loses is measured on validation
# wording, read as training evaluates it; a text encoder is the one that training read with. The rest of training is
# none of export's.
EXPORT_READS = {
    f"dpr_train.{module}"
    for module in (
        *(
            "backbones",
            "checkpoint",
            "encoders",
            "evaluate",
            "fusion",
            "item_texts",
            "model",
            "prompt_encoder",
        ),
        "prompts",
    )
}
PICKLERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
LONGEST_FILE_LINES = 350


def sources(package: str) -> list[Path]:
    return sorted(PACKAGES[package].rglob("*.py"))


def imports(source: str) -> Iterator[str]:
    """Every module that a source imports, wherever in the file, also by ``import_module`` of a literal name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide what is imported"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from (
                a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)
            )


def offences(package: str, forbidden: set[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in sources(package)
        for module in imports(path.read_text(encoding="utf-8"))
        if module.split(".")[0] in forbidden
    ]


def test_the_reader_of_imports_misses_none():
    source = """
import torch.nn as nn, json
def late():
    from dpr_train.model import DPR
    if True:
        importlib.import_module("onnx")
    return __import__("transformers")
"""
    assert set(imports(source)) == {
        "torch.nn",
        "json",
        "dpr_train.model",
        "dpr_train.model.DPR",
        "onnx",
        "transformers",
    }


@pytest.mark.parametrize("package", ["dpr_infer", "dpr_export", "dpr_train"])
def test_packages_are_where_they_belong(package):
    assert PACKAGES[package] / "__init__.py" in sources(package)


@pytest.mark.parametrize("package", PACKAGES)
def test_nobody_imports_what_lies_upstream(package):
    assert offences(package, FORBIDDEN[package]) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_nobody_pickles(package):
    assert offences(package, PICKLERS) == []
    unsafe = re.compile(r"\btorch\.(load|save)\(|allow_pickle=True")
    assert [str(path) for path in sources(package) if unsafe.search(path.read_text(encoding="utf-8"))] == []


def test_export_reads_of_training_only_what_a_checkpoint_is():
    read = {
        (path.name, module)
        for path in sources("dpr_export")
        for module in imports(path.read_text(encoding="utf-8"))
        if module.split(".")[0] == "dpr_train" and ".".join(module.split(".")[:2]) not in EXPORT_READS
    }
    assert read == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_files_stay_small(package):
    lines = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in sources(package)
    }
    assert {path: count for path, count in lines.items() if count > LONGEST_FILE_LINES} == {}


def test_only_the_bindings_know_python():
    named = re.compile(r"pybind11|Python\.h|\bPyObject\b")
    files = [path for path in (ROOT / "csrc").rglob("*") if path.suffix in (".h", ".cc")]
    found = {path.parent.name for path in files if named.search(path.read_text(encoding="utf-8"))}
    assert found == {"bindings"}


# Runs where the modules that are forbidden can't be imported at all: what is answered there, is answered without them.
_ALONE = """
import importlib, importlib.abc, json, pkgutil, sys

forbidden = set(json.loads(sys.argv[1]))

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in forbidden:
            raise ModuleNotFoundError(f"{name} is not installed here", name=name)
        return None

sys.meta_path.insert(0, Absent())
import dpr_infer
assert not any(name.split(".")[0] in forbidden for name in sys.modules)
answer = dpr_infer.Recommender(sys.argv[2], verify="full").query(["i100"], "comedy, no war", k=3)
for module in pkgutil.walk_packages(dpr_infer.__path__, "dpr_infer."):
    importlib.import_module(module.name)
print(json.dumps({"items": answer.items, "modules": sorted({name.split(".")[0] for name in sys.modules})}))
"""


def test_the_runtime_works_where_nothing_else_is_installed(tmp_path):
    bundle = tiny_bundle.write_tiny_bundle(tmp_path / "bundle")
    forbidden = FORBIDDEN["dpr_infer"]
    done = subprocess.run(
        [sys.executable, "-c", _ALONE, json.dumps(sorted(forbidden)), str(bundle)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert len(result["items"]) == 3
    assert forbidden.isdisjoint(result["modules"])
    assert "onnxruntime" in result["modules"]
