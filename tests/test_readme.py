# What the README promises: links lead somewhere, make targets exist, and the first use on own data runs as written.
from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dpr_train.data import make_synthetic, write_own_data


@pytest.fixture(scope="module")
def readme(root: Path) -> str:
    return (root / "README.md").read_text(encoding="utf-8")


def _blocks(readme: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", readme, re.DOTALL)


def test_links_lead_to_files(readme: str, root: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", readme)
    assert len(links) > 8
    missing = [link for link in links if not link.startswith("https://") and not (root / link).exists()]
    assert missing == []


def test_make_targets_exist(readme: str, root: Path) -> None:
    targets = re.findall(r"^make ([\w-]+)", "\n".join(_blocks(readme, "sh")), re.MULTILINE)
    assert {"demo", "test"} <= set(targets)
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.slow
def test_first_use_on_own_data_runs_as_written(readme: str, tmp_path: Path, cache_dir: Path) -> None:
    (commands,) = [block for block in _blocks(readme, "sh") if "dpr-train" in block]
    (script,) = [block for block in _blocks(readme, "python") if "Recommender(" in block]
    write_own_data(make_synthetic(), tmp_path / "my-shop")
    # pooch's default cache folder lies under this variable: the encoder is fetched once for all tests.
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache_dir)}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"

    def run(command: list[str]) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    lines = commands.strip().splitlines()
    assert [line.split()[0] for line in lines] == ["dpr-train", "dpr-export", "dpr-bundle", "dpr-query"]
    output = [run(["sh", "-c", line]) for line in lines]
    assert "NDCG@10" in output[0]
    assert "Parity" in output[1]
    assert "120 items" in output[2]
    assert "Understood" in output[3]
    printed = run([sys.executable, "-c", script])
    assert len(printed.splitlines()) >= 2
