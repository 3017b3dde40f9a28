# Leave-one-out: the last interaction of each user tests, the last but one validates, the rest trains.

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dpr_train.data.errors import DataError

IntArray = npt.NDArray[np.int64]

MIN_SPLIT_LENGTH = 3  # one interaction each to train, to validate and to test


@dataclass(frozen=True, kw_only=True, eq=False)
class LeaveOneOut:
    """The three parts of every user's sequence; entry u of each belongs to user u.

    Parameters
    ----------
    train : tuple of ndarray of int64
        All but the last two items, shape (T_u - 2,), oldest first. It is also the history that validation
        sees.
    validation : ndarray of int64, shape (U,)
        The last item but one: the target of validation.
    test : ndarray of int64, shape (U,)
        The last item: the target of the test. Its history is ``test_history(u)``.
    """

    train: tuple[IntArray, ...]
    validation: IntArray
    test: IntArray

    def __len__(self) -> int:
        return len(self.train)

    def test_history(self, user: int) -> IntArray:
        """Return what the test may see of a user: the training part and then the validation target.

        Parameters
        ----------
        user : int
            The user's number, 0..U-1.

        Returns
        -------
        ndarray of int64, shape (T_u - 1,)
            Item rows, oldest first.
        """
        return np.append(self.train[user], self.validation[user])


def leave_one_out(sequences: Sequence[IntArray]) -> LeaveOneOut:
    """Split every sequence into a training part, a validation target and a test target.

    Parameters
    ----------
    sequences : sequence of ndarray of int64
        One array (T_u,) a user, oldest first, T_u >= 3.

    Returns
    -------
    LeaveOneOut
        The parts, in the order of the users. Training parts are views of the sequences.

    Raises
    ------
    DataError
        If a sequence has fewer than 3 interactions.

    Examples
    --------
    >>> parts = leave_one_out([np.array([4, 0, 2, 1])])
    >>> parts.train[0].tolist(), parts.validation.tolist(), parts.test.tolist()
    ([4, 0], [2], [1])
    """
    for user, sequence in enumerate(sequences):
        if len(sequence) < MIN_SPLIT_LENGTH:
            raise DataError(
                f"the sequence of user number {user} is too short to be split",
                expected=f"at least {MIN_SPLIT_LENGTH} interactions (load with min_interactions >= 3)",
                got=str(len(sequence)),
            )
    return LeaveOneOut(
        train=tuple(sequence[:-2] for sequence in sequences),
        validation=np.array([sequence[-2] for sequence in sequences], dtype=np.int64),
        test=np.array([sequence[-1] for sequence in sequences], dtype=np.int64),
    )
