# Timestamps of interactions: numbers or ISO-8601. Only their order is used, so the unit of a number is the
# user's.

from datetime import UTC, datetime

import polars as pl

from dpr_train.data.table import Table, first_true

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EXPECTED = "a number of seconds or an ISO-8601 time, of one kind in the whole column"


def parse_timestamps(table: Table, column: str) -> pl.Series:
    """Return a column's timestamps as numbers that sort by time.

    Strings are numbers if the first one is, else ISO-8601 times. A time without an offset counts as UTC.

    Parameters
    ----------
    table : Table
        The interactions; at least one row.
    column : str
        Name of the column: integers, floats, dates, datetimes or strings.

    Returns
    -------
    polars.Series of Int64 or Float64
        One value a row; microseconds for ISO-8601 times, otherwise in the unit of the file.

    Raises
    ------
    DataError
        If a value is missing, is not finite, is not a timestamp or is not of the kind of the first one.
    """
    values = table.frame[column]
    if values.dtype.is_temporal() and values.dtype not in (pl.Duration, pl.Time):
        times = values.cast(pl.Datetime("us")).cast(pl.Int64)
    elif values.dtype.is_integer():
        times = values.cast(pl.Int64, strict=False)
    elif values.dtype.is_float():
        times = values.cast(pl.Float64)
    else:
        values = table.strings(column)
        times = _from_strings(values)
    bad = times.is_null() if times.dtype == pl.Int64 else ~times.is_finite().fill_null(value=False)
    index = first_true(bad)
    if index is not None:
        raise table.error("bad timestamp", column=column, index=index, expected=_EXPECTED, got=values[index])
    return times


def _from_strings(values: pl.Series) -> pl.Series:
    """Return the numbers that strings stand for, null where they stand for none."""
    # Int64 first: nanoseconds since 1970 would lose their last digits as Float64.
    whole = values.cast(pl.Int64, strict=False)
    if whole.null_count() == 0:
        return whole
    if values[:1].cast(pl.Float64, strict=False).null_count() == 0:
        return values.cast(pl.Float64, strict=False)
    different = values.unique()
    return values.replace_strict(
        different, [_iso_microseconds(text) for text in different], return_dtype=pl.Int64
    )


def _iso_microseconds(text: str) -> int | None:
    """Return the microseconds from 1970 UTC to an ISO-8601 time, or None if the text is not one."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    elapsed = (time if time.tzinfo else time.replace(tzinfo=UTC)) - _EPOCH
    return (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds
