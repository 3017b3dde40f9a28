# Weights in few bits: how far off, and that rounding what is round changes nothing.

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dpr_train.config import PromptEncoderConfig
from dpr_train.prompt_encoder import build_prompt_encoder
from dpr_train.weight_codes import decode, encode, round_embeddings


@pytest.mark.parametrize(("levels", "group"), [(7, 64), (7, 8), (63, 128), (1, 128), (127, 32)])
def test_codes_lie_within_half_a_step(levels: int, group: int) -> None:
    matrix = np.random.default_rng(0).normal(0, 0.05, (9, 128)).astype(np.float32)
    codes, scales = encode(matrix, levels=levels, group=group)
    assert (codes.dtype, codes.shape) == (np.int8, matrix.shape)
    assert (scales.dtype, scales.shape) == (np.float16, (9, 128 // group))
    assert np.abs(codes).max() == levels
    step = np.repeat(scales.astype(np.float32), group, axis=1)
    # Half a step, and what the scale lost as float16 (2**-11 of it) times the largest code.
    bound = step * (0.5 + levels * 2.0**-11) * 1.001
    assert (np.abs(decode(codes, scales) - matrix) <= bound).all()


@pytest.mark.parametrize(("levels", "group"), [(7, 64), (63, 128)])
def test_rounding_twice_is_rounding_once(levels: int, group: int) -> None:
    rng = np.random.default_rng(1)
    matrix = (rng.normal(0, 1, (40, 128)) * 10.0 ** rng.integers(-3, 2, (40, 1))).astype(np.float32)
    codes, scales = encode(matrix, levels=levels, group=group)
    rounded = decode(codes, scales)
    again = encode(rounded, levels=levels, group=group)
    np.testing.assert_array_equal(again[0], codes)
    np.testing.assert_array_equal(again[1], scales)
    np.testing.assert_array_equal(decode(*again), rounded)


def test_rows_of_nothing_stay_nothing() -> None:
    codes, scales = encode(np.zeros((2, 8), np.float32), levels=7, group=4)
    assert not codes.any()
    assert not scales.any()
    np.testing.assert_array_equal(decode(codes, scales), np.zeros((2, 8), np.float32))


def test_word_embeddings_are_rounded_in_place(encoder_folder: Path) -> None:
    encoder = build_prompt_encoder(PromptEncoderConfig(max_tokens=16, layers=2, head_dim=8), encoder_folder)
    # The tiny encoder is narrower than a group of the shipped one's.
    weight = torch.nn.Parameter(torch.randn(7, 128))
    encoder.encoder.embeddings.word_embeddings.weight = weight
    before = weight.detach().clone()
    round_embeddings(encoder)
    once = weight.detach().clone()
    assert len(once[0, :64].unique()) <= 15
    assert 0 < (once - before).abs().max() < 0.4
    round_embeddings(encoder)
    assert torch.equal(weight, once)
