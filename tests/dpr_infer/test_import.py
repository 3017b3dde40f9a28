# What importing costs, and what it must not pull in.

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version

import pytest

import dpr_infer

HEAVY = ("torch", "onnx", "transformers", "dpr_train", "dpr_export")
LATE = ("hnswlib", "onnxruntime", "pyarrow", "tokenizers", "safetensors", "typer", "rich")


def run(code: str, *arguments: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_import_is_light():
    loaded = run("import dpr_infer, sys, json; print(json.dumps({m: 1 for m in sys.modules}))")
    assert not [name for name in (*HEAVY, *LATE) if name in loaded]


def test_a_query_needs_no_training_code(bundle_path):
    loaded = run(
        "import dpr_infer, sys, json; dpr_infer.Recommender(sys.argv[1]).query([], 'comedy');"
        "print(json.dumps({m: 1 for m in sys.modules}))",
        str(bundle_path),
    )
    assert "onnxruntime" in loaded
    assert not [name for name in HEAVY if name in loaded]


def test_opening_a_small_bundle_imports_no_more_than_it_needs(bundle_path):
    before = run("import sys, json; print(json.dumps({m: 1 for m in sys.modules}))")  # site packages' hooks
    loaded = run(
        "import dpr_infer, sys, json; early = set(sys.modules); dpr_infer.Recommender(sys.argv[1]).query([]);"
        "print(json.dumps({'early': sorted(early), 'late': sorted(sys.modules)}))",
        str(bundle_path),
    )
    assert "importlib.metadata" not in set(loaded["early"]) - set(before)
    assert "pyarrow.parquet" in loaded["late"]
    assert "pyarrow.compute" not in loaded["late"]  # it writes the documentation of 286 functions


def test_public_names():
    assert all(getattr(dpr_infer, name) for name in dpr_infer.__all__)
    assert dpr_infer.__version__ == version("dpr-infer")
    assert dpr_infer.simd_level() in dpr_infer._core.supported_simd_levels()
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        dpr_infer.nothing  # noqa: B018


def test_errors_have_one_base():
    errors = [
        value for name in dpr_infer.__all__ if name.endswith("Error") for value in [getattr(dpr_infer, name)]
    ]
    assert all(issubclass(error, dpr_infer.DprError) for error in errors)
    assert issubclass(dpr_infer.QueryTypeError, TypeError)
    assert issubclass(dpr_infer.UnknownItemError, ValueError)
