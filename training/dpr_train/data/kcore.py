# The k-core of interactions: drop rare users and rare items, again and again, until none is left to drop.

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


def k_core(users: IntArray, items: IntArray, k: int) -> BoolArray:
    """Say which interactions belong to the k-core.

    The k-core is the largest set of interactions in which each user and each item that occurs, occurs at
    least k times. It does not depend on the order in which users and items are dropped. Every interaction
    counts: a user who took one item twice has two.

    Parameters
    ----------
    users : ndarray of int64, shape (R,)
        The user's number in each interaction, >= 0.
    items : ndarray of int64, shape (R,)
        The item's number in each interaction, >= 0.
    k : int
        Least number of interactions, >= 1.

    Returns
    -------
    ndarray of bool, shape (R,)
        True where the interaction is kept.

    Raises
    ------
    ValueError
        If k < 1 or the arrays differ in shape.

    Examples
    --------
    >>> k_core(np.array([0, 0, 1, 1, 2]), np.array([0, 1, 0, 1, 1]), 2).tolist()
    [True, True, True, True, False]
    """
    if k < 1:
        raise ValueError(f"k of the k-core: expected at least 1, got {k}")
    if users.shape != items.shape or users.ndim != 1:
        raise ValueError(f"users and items: expected one shape (R,), got {users.shape} and {items.shape}")
    kept = np.ones(users.shape, dtype=np.bool_)
    while kept.any():
        enough_user = np.bincount(users[kept], minlength=users.max() + 1) >= k
        enough_item = np.bincount(items[kept], minlength=items.max() + 1) >= k
        smaller = kept & enough_user[users] & enough_item[items]
        if np.array_equal(smaller, kept):
            break
        kept = smaller
    return kept
