# The core's complaints, as errors of this package.

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dpr_infer.errors import DprError


@contextmanager
def core_errors(error_type: type[DprError], what: str) -> Iterator[None]:
    """Turn a ValueError into an error of this package.

    Parameters
    ----------
    error_type : type of DprError
        What to raise instead.
    what : str
        Begins the message.
    """
    try:
        yield
    except ValueError as error:
        raise error_type(f"{what}: {error}") from error
