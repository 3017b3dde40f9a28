# The committed stub is what pybind11-stubgen makes of the compiled module, and type checkers accept it.
import pathlib
import subprocess
import sys

import pytest

import dpr_infer

STUB = pathlib.Path(dpr_infer.__file__).parent / "_core.pyi"


def test_the_stub_is_up_to_date(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("pybind11_stubgen")
    command = [
        sys.executable,
        "-m",
        "pybind11_stubgen",
        "dpr_infer._core",
        "-o",
        str(tmp_path),
        "--exit-code",
    ]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    generated = (tmp_path / "dpr_infer" / "_core.pyi").read_text(encoding="utf-8")
    assert STUB.read_text(encoding="utf-8") == generated, (
        "regenerate it with pybind11-stubgen dpr_infer._core"
    )


def test_every_public_name_has_a_docstring() -> None:
    from dpr_infer import _core

    owners = [_core, *(value for value in vars(_core).values() if isinstance(value, type))]
    for owner in owners:
        for name, value in vars(owner).items():
            if not name.startswith("_") or name == "__init__":
                assert (value.__doc__ or "").strip(), f"{owner.__name__}.{name}"
