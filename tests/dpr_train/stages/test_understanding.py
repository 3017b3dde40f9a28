# Labels of stage 2: which tokens name which tag, and what counts as understood.

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dpr_train.prompt_encoder import load_tokenizer
from dpr_train.prompts import LabelledPrompt
from dpr_train.stages.understanding import _labels, _token_labels, _understood


def test_tokens_of_a_span_name_its_tag(encoder_folder: Path) -> None:
    tokenizer = load_tokenizer(encoder_folder, 16)
    prompts = [
        LabelledPrompt("scary films but no war!", (1,), (2,), ((0, 11, 1), (19, 22, 2))),
        LabelledPrompt("make me laugh", (0,)),
    ]
    encodings = tokenizer.encode_batch([p.text for p in prompts])
    named, known = _token_labels(encodings, prompts, n_tags=3, length=9)
    # [CLS] scary films but no war ! [SEP]
    assert named[0, 1].tolist() == [0, 1, 1, 0, 0, 0, 0, 0, 0]
    assert named[0, 2].tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 0]
    assert named[0, 0].sum() == named[1].sum() == 0
    assert known[0].all(0).tolist() == [True] * 8 + [False]
    # Nobody says which tokens of "make me laugh" mean comedy; that none of them names another tag is known.
    assert not known[1, 0].any()
    assert known[1, 1:].all(0).tolist() == [True] * 5 + [False] * 4


def test_labels_by_tag() -> None:
    asked, refused = _labels([LabelledPrompt("", (0, 2), (1,)), LabelledPrompt("")], 3)
    assert asked.tolist() == [[1, 0, 1], [0, 0, 0]]
    assert refused.tolist() == [[0, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("wish", "right"),
    [
        ([[0.9, 0.0], [0.1, 0.5]], True),
        ([[0.9, 0.0], [0.1, 0.49]], False),  # one wish missed
        ([[0.9, 0.6], [0.1, 0.5]], False),  # one too many
        ([[0.0, 0.9], [0.5, 0.1]], False),  # the wrong way round
    ],
)
def test_understood_means_exactly_its_wishes(wish: list[list[float]], right: bool) -> None:
    assert _understood(torch.tensor(wish), LabelledPrompt("", (0,), (1,))) is right
