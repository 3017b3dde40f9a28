# Leave-one-out: nothing is lost, nothing leaks.

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpr_train.data import DataError, leave_one_out

SEQUENCES = st.lists(
    st.lists(st.integers(0, 99), min_size=3, max_size=12).map(lambda rows: np.array(rows, dtype=np.int64)),
    min_size=1,
    max_size=8,
)


@given(SEQUENCES)
def test_parts_put_together_are_the_sequence(sequences: list[np.ndarray]) -> None:
    parts = leave_one_out(sequences)
    assert len(parts) == len(sequences)
    for user, sequence in enumerate(sequences):
        whole = np.concatenate([parts.train[user], [parts.validation[user]], [parts.test[user]]])
        assert whole.tolist() == sequence.tolist()
        assert parts.test_history(user).tolist() == sequence[:-1].tolist()
        assert parts.test_history(user).dtype == np.int64


def test_types_and_shapes() -> None:
    parts = leave_one_out([np.array([3, 1, 2]), np.array([0, 1, 2, 3])])
    assert parts.validation.dtype == parts.test.dtype == np.int64
    assert parts.validation.tolist() == [1, 2]
    assert parts.test.tolist() == [2, 3]
    assert [part.tolist() for part in parts.train] == [[3], [0, 1]]


def test_refuses_a_sequence_of_two() -> None:
    with pytest.raises(DataError, match=r"user number 1 .*expected at least 3 .*got 2"):
        leave_one_out([np.array([1, 2, 3]), np.array([1, 2])])
