# What all tests share: which tests wait for Debian packages, which levels the machine has, where real data are found.
from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dpr_infer._core import supported_simd_levels

ROOT = Path(__file__).resolve().parents[1]
_MISSING = pytest.StashKey[set[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--debian", action="store_true", help="also run the tests that need Debian packages")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip, by name, what needs a Debian package that is not asked for or not there."""
    missing = config.stash[_MISSING] = set()
    needs = [(item, marker.args) for item in items for marker in item.iter_markers("debian")]
    for item, (package, command) in needs:
        if not config.getoption("--debian"):
            item.add_marker(pytest.mark.skip(reason=f"needs the Debian package {package}: make test-all"))
        elif shutil.which(command) is None and not Path(command).is_file():
            missing.add(package)
            item.add_marker(pytest.mark.skip(reason=f"missing: the Debian package {package}"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    missing = config.stash.get(_MISSING, set())
    if missing:
        packages = " ".join(sorted(missing))
        terminalreporter.write_line(f"Missing Debian packages: apt-get install {packages}", yellow=True)
    untested = sorted({"avx2", "avx512vnni", "amx", "neon"} - set(supported_simd_levels()))
    terminalreporter.write_line(
        f"SIMD levels of this machine: {', '.join(supported_simd_levels())}; not run natively: {', '.join(untested)}"
    )


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def cache_dir() -> Path:
    """Downloads, kept between runs; git ignores the folder."""
    return ROOT / ".cache"
