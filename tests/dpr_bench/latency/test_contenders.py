# All contenders answer the same, and a difference that is more than rounding ends the run.
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from dpr_bench.latency.agreement import K, compare_answers
from dpr_bench.latency.contenders import (
    COMPILED,
    EAGER,
    FAISS,
    INT8,
    NUMPY,
    OPENVINO,
    OPTIMISED,
    OURS,
    Contender,
    Models,
    list_contenders,
    open_contenders,
)
from dpr_bench.latency.ours import OurPipeline
from dpr_bench.latency.pipeline import Histories, Pipeline, Rows
from dpr_bench.latency.questions import Questions


def test_all_of_them_recommend_the_same(models: Models, questions: Questions):
    contenders, left_out = list_contenders(models, questions, compiled=False)
    assert [contender.name for contender in contenders] == [
        OURS,
        INT8,
        OPENVINO,
        NUMPY,
        FAISS,
        EAGER,
        OPTIMISED,
    ]
    assert list(left_out) == [COMPILED]
    pipelines = open_contenders(contenders, 1, left_out)
    exact = [contender.name for contender in contenders if contender.exact]
    assert exact == [OURS, NUMPY, FAISS, EAGER, OPTIMISED]
    # Batches of unlike lengths, an empty history among them: padding and groups must not show.
    mixed = [history[: 3 * place] for place, history in enumerate(questions.histories)]
    batches = [*questions.batches(1, 12), *questions.batches(9, 3), (mixed, questions.prompts[: len(mixed)])]
    for _ in range(2):  # prompts not cached, then cached
        results = compare_answers(pipelines, exact, batches)
        assert [result.pipeline for result in results] == [contender.name for contender in contenders[1:]]
        for result in results:
            assert result.queries == 12 + 27 + len(mixed)
            assert result.same > (0.95 if result.pipeline in exact else 0.5)


def test_a_float32_bundle_has_no_int8(models: Models, questions: Questions):
    alone = Models(
        bundle=models.float32,
        float32=models.float32,
        plain_graphs=models.plain_graphs,
        checkpoint=models.checkpoint,
    )
    contenders, left_out = list_contenders(alone, questions, compiled=True)
    assert INT8 not in [contender.name for contender in contenders]
    assert left_out == {INT8: "the bundle's prompt encoder is float32"}
    assert contenders[-1].name == COMPILED
    assert not contenders[-1].quick


class _Altered:
    """dpr-infer, but for the items that it puts last."""

    def __init__(self, pipeline: OurPipeline, beyond: int) -> None:
        self._recommender = pipeline.recommender
        self._beyond = beyond

    def search(self, histories: Histories, prompts: Sequence[str], k: int) -> Rows:
        rows, _ = self._recommender.search_arrays(histories, prompts, k + self._beyond)
        return np.delete(rows, np.arange(k - 1, k - 1 + self._beyond), axis=1)


def test_another_item_ends_the_run(models: Models, questions: Questions):
    ours = OurPipeline(models.float32, 1)
    batches = questions.batches(4, 3)
    pipelines: dict[str, Pipeline] = {OURS: ours, "other": _Altered(ours, 5)}
    with pytest.raises(ValueError, match=r"must recommend the same items; 100\.0% of 12"):
        compare_answers(pipelines, ["other"], batches)
    (told,) = compare_answers(pipelines, [], batches)
    assert (told.same, told.unexplained) == (0.0, 1.0)
    assert told.shared == pytest.approx((K - 1) / K)
    same = compare_answers({OURS: ours, "other": _Altered(ours, 0)}, ["other"], batches)
    assert same[0].same == 1.0


def test_what_does_not_compile_is_left_out_by_name():
    def fail(threads: int) -> Pipeline:
        raise RuntimeError("no C++ compiler\nat length")

    left_out: dict[str, str] = {}
    assert open_contenders([Contender(name="compiled", open=fail, quick=False)], 1, left_out) == {}
    assert left_out == {"compiled": "does not compile here: RuntimeError: no C++ compiler"}
    with pytest.raises(RuntimeError, match="no C"):
        open_contenders([Contender(name="plain", open=fail)], 1, left_out)
