# What the tests of deploy/ share: its files, and what a server really has.
from __future__ import annotations

import re
from pathlib import Path

import pytest

from dpr_infer.serve.metrics import Metrics
from dpr_infer.serve.routes import all_routes, templates
from dpr_infer.serve.settings import Settings


@pytest.fixture(scope="session")
def deploy(root: Path) -> Path:
    """The folder of the files for operators."""
    return root / "deploy"


@pytest.fixture(scope="session")
def operator_texts(root: Path, deploy: Path) -> dict[str, str]:
    """Everything that an operator reads or installs, by its path in the repository."""
    paths = [path for path in sorted(deploy.rglob("*")) if path.is_file()]
    paths += [root / "docs" / "deployment.md", *sorted((root / "tests" / "deploy").glob("*.yml"))]
    return {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in paths}


@pytest.fixture(scope="session")
def routes() -> list[str]:
    """The templates of all routes, the page's among them."""
    return templates(all_routes(Settings(bundle="anywhere")))


@pytest.fixture(scope="session")
def series(routes: list[str]) -> dict[str, dict[str, set[str]]]:
    """Names of all samples that a server shows, and the values of their labels."""
    metrics = Metrics(routes)
    metrics.serve_model("name", "version")
    found: dict[str, dict[str, set[str]]] = {}
    for family in metrics.registry.collect():
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return found


@pytest.fixture(scope="session")
def is_route(routes: list[str]):
    """Tells whether a path, which may have parameters in braces, is one of the server's."""
    patterns = [re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(route))) for route in routes]
    return lambda path: any(pattern.fullmatch(path) for pattern in patterns)
