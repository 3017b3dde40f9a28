# Ready-made sequences, as MovieLens-1M and Amazon Beauty are passed around: a line a user.

import numpy as np
import polars as pl

from dpr_train.data.lines import decoded_lines
from dpr_train.data.table import Table


def read_sequence_lines(data: bytes, file: str) -> Table:
    """Read sequences as interactions whose timestamp is their place in the file.

    Parameters
    ----------
    data : bytes
        UTF-8; a line holds a user's id, then the items' ids, oldest first, separated by blanks.
    file : str
        The file, as messages name it.

    Returns
    -------
    Table
        Columns ``user``, ``item`` and ``timestamp``; one row an item of a line.

    Raises
    ------
    DataError
        If the bytes are not UTF-8.
    """
    users: list[str] = []
    items: list[str] = []
    line_numbers: list[int] = []
    for number, line in enumerate(decoded_lines(data, file, "utf-8"), start=1):
        user, *taken = line.split() or [""]
        users += [user] * len(taken)
        items += taken
        line_numbers += [number] * len(taken)
    frame = pl.DataFrame(
        {"user": users, "item": items, "timestamp": np.arange(len(items), dtype=np.int64)},
        schema_overrides={"user": pl.String, "item": pl.String},
    )
    return Table(file=file, frame=frame, locate=lambda row: f"line {line_numbers[row]}")
