# The exceptions of dpr_train.data. Every message names the place, what was expected and what was got.

_SHOWN_CHARACTERS = 120


def shown(value: object) -> str:
    """Return ``repr(value)``, shortened so that a message stays readable.

    Parameters
    ----------
    value : object
        What was got.

    Returns
    -------
    str
        At most 120 characters of the representation, then ``...``.
    """
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


class DataError(Exception):
    """Data that cannot be used as it is.

    Parameters
    ----------
    what : str
        What is wrong, in a few words.
    file : str, optional
        The file, as the user named it.
    column : str, optional
        The column.
    row : str, optional
        Where in the file, saying what is counted: ``"line 12"`` or ``"row 11"``.
    expected : str, optional
        What would have been accepted.
    got : str, optional
        What was found instead.
    """

    def __init__(
        self,
        what: str,
        *,
        file: str | None = None,
        column: str | None = None,
        row: str | None = None,
        expected: str | None = None,
        got: str | None = None,
    ) -> None:
        self.what, self.file, self.column, self.row = what, file, column, row
        self.expected, self.got = expected, got
        place = [file, f"column {column!r}" if column else None, row]
        where = ", ".join(part for part in place if part)
        details = [what]
        details += [f"expected {expected}"] if expected else []
        details += [f"got {got}"] if got is not None else []
        message = "; ".join(details)
        super().__init__(f"{where}: {message}" if where else message)


class FetchError(DataError):
    """A file that could not be fetched, or whose checksum is not the pinned one."""
