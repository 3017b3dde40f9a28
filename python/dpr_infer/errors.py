# Every exception that dpr_infer raises on purpose. Messages say what, what was expected and what was got.

from __future__ import annotations

from collections.abc import Collection


class DprError(Exception):
    """Base of all errors of this package."""


class BundleError(DprError):
    """A bundle is incomplete, damaged, or says something that its files do not bear out."""


class BundleVersionError(BundleError):
    """A bundle has a format version that this package does not know."""


class EngineError(DprError):
    """A graph could not be loaded or run."""


class ProviderError(DprError):
    """An execution provider was asked for and is not what runs."""


class MissingExtraError(DprError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""


class QueryError(DprError, ValueError):
    """A query has an argument that no answer can be given for."""


class QueryTypeError(QueryError, TypeError):
    """A query has an argument of the wrong type."""


class UnknownItemError(QueryError):
    """A query names items that the catalogue does not have, or no longer has.

    Attributes
    ----------
    item_ids : tuple of str
        Every unknown id, in the order given, without repetition. The message lists the first ten, and says of
        those in `removed` that they were removed.
    """

    def __init__(self, what: str, item_ids: tuple[str, ...], removed: Collection[str] = ()) -> None:
        self.item_ids = item_ids
        shown = ", ".join(f"{i!r} (removed)" if i in removed else repr(i) for i in item_ids[:10])
        more = f" and {len(item_ids) - 10} more" if len(item_ids) > 10 else ""
        super().__init__(f"{what} must name items of the catalogue; unknown: {shown}{more}")


class WhereError(QueryError):
    """A tag expression cannot be read, names an unknown tag, or is too large."""
