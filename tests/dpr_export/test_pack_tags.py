# Bitsets of tags against a loop over bits.

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpr_export.catalogue import pack_tags


def naive(matrix: np.ndarray) -> list[list[int]]:
    words = max(1, -(-matrix.shape[1] // 64))
    packed = [[0] * words for _ in matrix]
    for row, line in enumerate(matrix):
        for g, has in enumerate(line):
            if has:
                packed[row][g // 64] |= 1 << g % 64
    return packed


@given(
    n_items=st.integers(0, 5),
    n_tags=st.integers(1, 130),
    share=st.sampled_from([0, 0.1, 0.5, 1]),
    seed=st.integers(0, 99),
)
def test_pack_tags_is_the_loop_over_bits(n_items, n_tags, share, seed):
    matrix = np.random.default_rng(seed).random((n_items, n_tags)) < share
    packed = pack_tags(matrix)
    assert packed.dtype == np.uint64
    assert packed.tolist() == naive(matrix)


@pytest.mark.parametrize("n_tags", [1, 63, 64, 65, 127, 128, 129, 130])
def test_last_tag_alone(n_tags):
    matrix = np.zeros((2, n_tags), dtype=np.bool_)
    matrix[1, -1] = True
    packed = pack_tags(matrix)
    assert packed.shape == (2, -(-n_tags // 64))
    assert packed[0].tolist() == [0] * packed.shape[1]
    assert packed[1].tolist() == [0] * (packed.shape[1] - 1) + [1 << (n_tags - 1) % 64]


def test_a_catalogue_without_tags_has_one_empty_word():
    assert pack_tags(np.zeros((3, 0), dtype=np.bool_)).tolist() == [[0], [0], [0]]
