# The type stubs of TensorRT that PyPI has were printed from its docstrings, and some definitions are no Python ("in" as
# a parameter). This puts a definition that takes anything in their place, so that mypy can read all the others:
#   pip install --no-deps --target .venv/stubs tensorrt-stubs; python tests/mend_tensorrt_stubs.py .venv/stubs

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

_DEFINITION = re.compile(r"( *)def (\w+)\(.*\) -> .*:( \.\.\.)?")


def mend(source: str) -> tuple[str, int]:
    """Return the source with definitions that do not parse replaced, and how many those were."""
    lines, mended = source.splitlines(), 0
    for number, line in enumerate(lines):
        found = _DEFINITION.fullmatch(line)
        if found and not _parses(line.strip().removesuffix("...").strip() + " ..."):
            indent, name, body = found.groups()
            lines[number] = (
                f"{indent}def {name}(*args: typing.Any, **options: typing.Any) -> typing.Any:{body or ''}"
            )
            mended += 1
    return "\n".join(lines) + "\n", mended


def _parses(code: str) -> bool:
    try:
        ast.parse(code)
    except SyntaxError:
        return False
    return True


def main() -> None:
    (folder,) = sys.argv[1:]
    for path in sorted(Path(folder).glob("tensorrt*/*.pyi")):
        source, _ = mend(path.read_text(encoding="utf-8"))
        ast.parse(source)  # whatever else is wrong with them must show here, not in mypy
        path.write_text(source, encoding="utf-8")


if __name__ == "__main__":
    main()
