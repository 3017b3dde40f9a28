# The runtime works without the server, and without what only the server needs.

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SERVER_ONLY = {
    "dpr_infer.serve",
    "httptools",
    "litestar",
    "msgspec",
    "opentelemetry",
    "prometheus_client",
    "redis",
    "uvicorn",
    "uvloop",
}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_server_only(module: str) -> bool:
    return any(module == name or module.startswith(name + ".") for name in SERVER_ONLY)


@pytest.mark.parametrize("module", ["dpr_infer.serve.app", "litestar", "uvicorn.config"])
def test_what_is_looked_for_is_recognised(module: str):
    assert is_server_only(module)


def test_nothing_else_imports_the_server(root: Path):
    folder = root / "python" / "dpr_infer"
    may = {folder / "cli" / "serve_command.py", *(folder / "serve").rglob("*.py")}
    found = [
        f"{path.relative_to(root)} imports {module}"
        for path in sorted(set(folder.rglob("*.py")) - may)
        for module in imports(path)
        if is_server_only(module)
    ]
    assert found == []


def test_settings_need_nothing_but_the_runtime(root: Path):
    """The command reads them before it looks whether the server's packages are there."""
    for name in ("settings.py", "__init__.py"):
        assert not any(map(is_server_only, imports(root / "python" / "dpr_infer" / "serve" / name)))
