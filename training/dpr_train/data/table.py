# A table as it was read, before anything is checked, together with the way back to its place in the file.

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from dpr_train.data.errors import DataError, shown


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """Columns of one file and where each row stands in it.

    Parameters
    ----------
    file : str
        The file, as messages name it.
    frame : polars.DataFrame
        The columns. Text formats give strings only.
    locate : callable
        From a row of ``frame`` (0-based) to its place, such as ``"line 12"``: 1-based, and saying what is
        counted.
    """

    file: str
    frame: pl.DataFrame
    locate: Callable[[int], str]

    def error(self, what: str, *, column: str, index: int, expected: str, got: object) -> DataError:
        """Make the exception for one value.

        Parameters
        ----------
        what : str
            What is wrong.
        column : str
            The column.
        index : int
            Row of ``frame``, 0-based.
        expected : str
            What would have been accepted.
        got : object
            The value found; its representation is shown.

        Returns
        -------
        DataError
            To be raised by the caller.
        """
        return DataError(
            what, file=self.file, column=column, row=self.locate(index), expected=expected, got=shown(got)
        )

    def require(self, columns: Sequence[str]) -> None:
        """Check that the table has rows and the columns named.

        Parameters
        ----------
        columns : sequence of str
            Names of the columns that must be there.

        Raises
        ------
        DataError
            If a column is missing or the table has no rows.
        """
        for column in columns:
            if column not in self.frame.columns:
                raise DataError(
                    "missing column",
                    file=self.file,
                    column=column,
                    expected=f"the columns {', '.join(columns)}",
                    got=f"the columns {', '.join(self.frame.columns)}",
                )
        if self.frame.height == 0:
            raise DataError("the file has no rows", file=self.file, expected="at least one row", got="none")

    def strings(self, column: str) -> pl.Series:
        """Return a column as strings; a missing value is ``""``.

        Parameters
        ----------
        column : str
            Name of a column of strings, categories or integers.

        Returns
        -------
        polars.Series of String
            One value a row, no nulls. Strings are not trimmed: leading zeros and blanks stay.

        Raises
        ------
        DataError
            If the column holds anything else.
        """
        values = self.frame[column]
        textual = values.dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null) or values.dtype.is_integer()
        if not textual:
            raise DataError(
                "wrong type of column",
                file=self.file,
                column=column,
                expected="strings or integers",
                got=str(values.dtype),
            )
        return values.cast(pl.String).fill_null("")


def first_true(mask: pl.Series) -> int | None:
    """Return the index of the first True of a boolean series, or None.

    Parameters
    ----------
    mask : polars.Series of Boolean
        No nulls.

    Returns
    -------
    int or None
        0-based index.
    """
    return mask.arg_max() if mask.any() else None
