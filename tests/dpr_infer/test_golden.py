# Bundles of every format version, as they were when the version was new, are read and give the answers that the formula
# gives, to the last bit.

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dpr_infer import Query, Recommender
from dpr_infer._core import supported_simd_levels
from dpr_infer.manifest import FORMAT_VERSIONS
from golden import generate
from golden.formula import answer
from golden.other_reader import OtherReader

GOLDEN = Path(__file__).parents[1] / "golden"
WITH_HNSW = [version for version in FORMAT_VERSIONS if (GOLDEN / f"v{version}" / "index.hnsw").exists()]


def expected(version: int) -> list[dict[str, Any]]:
    return json.loads((GOLDEN / f"v{version}.expected.json").read_text(encoding="utf-8"))


def check(got, wanted: dict[str, Any]) -> None:
    assert got.items == wanted["items"]
    assert got.titles == wanted["titles"]
    assert got.scores.tobytes() == np.array(wanted["scores"], np.float32).tobytes()
    assert sorted(wish.tag for wish in got.wishes if wish.asked == 1) == wanted["asked"]
    assert sorted(wish.tag for wish in got.wishes if wish.refused == 1) == wanted["refused"]
    assert (got.history_unread, got.history_truncated) == (
        wanted["history_unread"],
        wanted["history_truncated"],
    )


def ask_all(recommender: Recommender, cases: list[dict[str, Any]]) -> None:
    for case in cases:
        check(recommender.query(**case["query"]), case["answer"])


def test_every_version_that_is_read_is_there():
    assert sorted(path.name for path in GOLDEN.iterdir() if path.is_dir() and path.name.startswith("v")) == [
        f"v{version}" for version in FORMAT_VERSIONS
    ]
    for version in FORMAT_VERSIONS:
        manifest = json.loads((GOLDEN / f"v{version}" / "manifest.json").read_text(encoding="utf-8"))
        assert manifest["format_version"] == version


@pytest.mark.parametrize("version", FORMAT_VERSIONS)
def test_answers_are_exactly_those_expected(version):
    recommender, cases = Recommender(GOLDEN / f"v{version}", verify="full"), expected(version)
    ask_all(recommender, cases)
    assert len({tuple(case["answer"]["items"]) for case in cases}) > 30  # not all the same


@pytest.mark.parametrize("version", FORMAT_VERSIONS)
@pytest.mark.parametrize("level", supported_simd_levels())
def test_in_a_batch_and_on_every_instruction_set(version, level, monkeypatch):
    """The numbers are such that no order of adding rounds, so even the engines' part has the same bits."""
    monkeypatch.setenv("DPR_SIMD_LEVEL", level)
    recommender, cases = Recommender(GOLDEN / f"v{version}", threads=2), expected(version)
    answers = recommender.query_each([Query(**case["query"]) for case in cases])
    for got, case in zip(answers, cases, strict=True):
        check(got, case["answer"])


@pytest.mark.parametrize("version", FORMAT_VERSIONS)
def test_a_reader_written_from_the_document_alone_answers_alike(version):
    reader = OtherReader(GOLDEN / f"v{version}")
    for case in expected(version):
        assert reader.query(**case["query"]) == (case["answer"]["items"], case["answer"]["scores"])


@pytest.mark.parametrize("version", WITH_HNSW)
def test_with_as_many_candidates_as_items(version):
    pytest.importorskip("hnswlib")
    ask_all(Recommender(GOLDEN / f"v{version}", index="hnsw", ef=1_000), expected(version))


def test_some_have_an_hnsw_index():
    assert WITH_HNSW == [2, 5]


@pytest.mark.parametrize("version", FORMAT_VERSIONS)
def test_reloading_any_version_over_any_other(version):
    recommender = Recommender(GOLDEN / f"v{FORMAT_VERSIONS[-1]}")
    recommender.reload(GOLDEN / f"v{version}")
    ask_all(recommender, expected(version)[:10])


@pytest.mark.parametrize("version", FORMAT_VERSIONS)
def test_the_generator_still_writes_such_bundles(version, tmp_path):
    """Not these very bytes: libraries change what they write. But whole bundles that answer by the formula."""
    pytest.importorskip("hnswlib")
    made = generate.golden(version)
    generate.write(tmp_path / "bundle", made)
    cases = [{"query": query, "answer": answer(made, query)} for query in generate.queries(made.ids)]
    ask_all(Recommender(tmp_path / "bundle", verify="full"), cases)
