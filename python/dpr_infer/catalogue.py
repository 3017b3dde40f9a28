# The public catalogue of bare vectors: exact search, filters, penalties, live changes, a file.
# Brings arguments into the form of the core, and the core's errors into that of this package.

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn, SupportsFloat, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dpr_infer import _core
from dpr_infer.catalogue_search import CatalogueSearch
from dpr_infer.catalogue_store import open_catalogue, write_catalogue
from dpr_infer.changes import Changes
from dpr_infer.core_errors import core_errors
from dpr_infer.errors import QueryError, QueryTypeError
from dpr_infer.request import check_count
from dpr_infer.row_arguments import row_array
from dpr_infer.tag_book import TagBook, Tags, pack_tags, tag_collections
from dpr_infer.vector_arguments import float_array, owned_vectors, part_widths
from dpr_infer.where_filters import Where


class Catalogue:
    """Item vectors that can be searched exactly, filtered, penalised and changed while they are searched.

    An item is known by its *row*: its number in order of arrival. Rows never change and are never given out twice.
    Safe to use from several threads at once. docs/catalogue.md is the guide.

    Parameters
    ----------
    vectors : array-like of float, shape (N, D)
        Item vectors, finite; N at least 1, D from 1 to 32,768. Other types than float32 are rounded to it. A read-only
        float32 array is used where it lies and must not change; any other is copied.
    tags : sequence of collection of str, length N, optional
        Names of every item's tags, at most 4096 different ones; their numbers follow the order of first appearance.
    parts : sequence of int, optional
        Widths of the one or two parts of a vector, D together; each part is quantised and bounded by itself, which
        changes the speed and never an answer. Default: one part.
    threads : int
        Threads that the building, and later each call, may use, >= 1.
    simd_level : str, optional
        One of ``dpr_infer._core.supported_simd_levels()``. Default: what `dpr_infer.simd_level` tells, the environment
        variable ``DPR_SIMD_LEVEL`` or the highest but ``amx``.

    Raises
    ------
    QueryTypeError, QueryError
        If a type, shape, size or number is wrong; the message says which, what is expected and what was got.

    Examples
    --------
    >>> from dpr_infer import Catalogue
    >>> catalogue = Catalogue([[3, 0], [2, 2], [0, 3]], tags=[["war"], ["war", "comedy"], ["comedy"]])
    >>> rows, scores = catalogue.search([1, 0.5], k=2)
    >>> rows.tolist(), scores.tolist()
    ([0, 1], [3.0, 3.0])
    >>> catalogue.search([1, 0.5], k=2, where="comedy", exclude=[1])[0].tolist()
    [2, -1]
    >>> catalogue.search([1, 0.5], k=2, away=[[1, 0]])[1].tolist()
    [1.5, 1.0]
    >>> catalogue.add([[4, 4]], tags=[["comedy"]]).tolist()
    [3]
    >>> catalogue.remove([0])
    >>> catalogue.search([1, 0.5], k=3)[0].tolist(), len(catalogue)
    ([3, 1, 2], 3)
    """

    def __init__(
        self,
        vectors: ArrayLike,
        tags: Tags | None = None,
        *,
        parts: Sequence[int] | None = None,
        threads: int = 1,
        simd_level: str | None = None,
    ) -> None:
        check_count("threads", threads, 1)
        matrix = owned_vectors(vectors, "vectors")
        widths = part_widths(parts, matrix.shape[1])
        entries = None if tags is None else tag_collections(tags)
        book = None if entries is None else TagBook.collect(entries)
        tag_bits = pack_tags(book, entries, len(matrix))
        with core_errors(QueryError, "the catalogue cannot be built"):
            index = _core.build_index(matrix, parts=widths, threads=threads, simd_level=simd_level)
            core = _core.Catalogue(matrix, tag_bits, index=index, parts=widths, simd_level=simd_level)
        self._open(core, book, threads)

    @classmethod
    def load(cls, path: str | PathLike[str], *, threads: int = 1, verify: str = "fast") -> Catalogue:
        """Open a file that `save` wrote.

        Parameters
        ----------
        path : path-like
            The file. It is mapped into memory: it may be replaced or deleted afterwards, but not written into.
        threads : int
            As for the class.
        verify : {"fast", "full"}
            Both check all that memory safety needs; "full" also recomputes every bound of the index from the vectors,
            without which a forged file could hide items.

        Returns
        -------
        Catalogue
            The catalogue as it was saved: rows, tags and what was switched off.

        Raises
        ------
        BundleVersionError, BundleError
            If the file's format version is not known, or it is not a valid file.
        QueryError
            If `threads` or `verify` is out of range.
        """
        check_count("threads", threads, 1)
        core, book = open_catalogue(Path(path), verify=verify)
        catalogue = cls.__new__(cls)
        catalogue._open(core, book, threads)
        return catalogue

    def _open(self, core: _core.Catalogue, book: TagBook | None, threads: int) -> None:
        self._core = core
        self._dim = core.dim
        self._book = book
        self._search = CatalogueSearch(core, book, threads)
        self._changes = Changes(lambda: core.compact(threads=threads))

    def search(
        self,
        queries: ArrayLike,
        k: SupportsIndex = 10,
        *,
        away: ArrayLike | None = None,
        gates: ArrayLike | None = None,
        phi: str = "relu",
        gain: SupportsFloat = 1.0,
        biases: ArrayLike | None = None,
        where: Where = None,
        exclude: Any = None,
        allow: Any = None,
        threads: int | None = None,
        counters: _core.SearchCounters | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Find the k best items of each query, exactly.

        The score of item v is ``<q, v> - sum over m of gates[m] * phi(<away[m], v> + biases[m])``, computed as
        docs/design.md says to the bit. Items are ordered by score descending, then row ascending.

        Parameters
        ----------
        queries : array-like of float, shape (B, D) or (D,)
            One query a row, finite; or a single query, for which `away`, `gates` and the results have no axis B.
            float32 in C order is read as it is, anything else is converted first.
        k : int
            How many items to return, from 1.
        away : array-like of float, shape (B, M, D), optional
            Vectors to stay away from.
        gates : array-like of float, shape (B, M), optional
            How much each away vector counts, >= 0; 0 leaves it out. Default: 1.
        phi : {"relu", "softplus"}
            ``max(x, 0)``, or ``ln(1 + exp(gain x)) / gain``.
        gain : float
            Steepness of softplus, at least 1e-30.
        biases : array-like of float, shape (M,), optional
            Added to the products with the away vectors. Default: 0.
        where : str, None or sequence of str or None, optional
            Tag expression (docs/where.md) that items must fulfil: one for all queries, or one a query.
        exclude : array-like of int or sequence of B of them, optional
            Rows that must not be returned: one list for all queries, or one a query.
        allow : array-like of int or sequence of B of them, optional
            The only rows that may be returned, likewise. Removed ones are passed over. An empty list allows nothing.
        threads : int, optional
            Threads that this search may use. Default: the catalogue's.
        counters : dpr_infer.SearchCounters, optional
            Adds up the work that was done.

        Returns
        -------
        rows : ndarray of int64, shape (B, k) or (k,)
            Best first. When fewer than k items are allowed, the rest is -1.
        scores : ndarray of float32, shape (B, k) or (k,)
            Their scores; the rest is -inf.

        Raises
        ------
        WhereError
            If a tag expression is wrong.
        QueryTypeError, QueryError
            If another argument is not as above, or a score among the results overflows float32.
        """
        return self._search.rank(
            queries, k, away, gates, (phi, gain, biases), where, exclude, allow, threads, counters
        )

    def add(self, vectors: ArrayLike, tags: Tags | None = None) -> NDArray[np.int64]:
        """Add items. The next search sees them.

        Parameters
        ----------
        vectors : array-like of float, shape (n, D)
            Their vectors, finite; copied.
        tags : sequence of collection of str, length n
            Their tags, names that the catalogue was built with. Needed exactly when the catalogue has tags.

        Returns
        -------
        ndarray of int64, shape (n,)
            Their rows.

        Raises
        ------
        QueryTypeError, QueryError
            If an argument is not as above; nothing is added then.
        """
        matrix = float_array(vectors, "vectors", (None, self._dim))
        tag_bits = pack_tags(self._book, tags, len(matrix))
        if not len(matrix):
            return np.empty(0, np.int64)
        with self._changes.lock, core_errors(QueryError, "the items cannot be added"):
            first = self._core.add(matrix, tag_bits)
        return np.arange(first, first + len(matrix), dtype=np.int64)

    def remove(self, rows: ArrayLike) -> None:
        """Remove items for ever. The next search does not see them; their rows stay unused.

        Parameters
        ----------
        rows : array-like of int
            Their rows.

        Raises
        ------
        QueryTypeError, QueryError
            If a row is unknown or removed already; nothing is removed then.
        """
        wanted = row_array(rows, "rows", self._core.n_rows)
        with self._changes.lock, core_errors(QueryError, "the items cannot be removed"):
            self._core.remove(wanted)

    def set_available(self, rows: ArrayLike, available: bool) -> None:
        """Switch items off or on again. The next search sees it; no index is rebuilt for it.

        Parameters
        ----------
        rows : array-like of int
            Their rows; they may be so already.
        available : bool
            False: no search returns them.

        Raises
        ------
        QueryTypeError, QueryError
            If a row is unknown or removed, or `available` is no bool; nothing is changed then.
        """
        if not isinstance(available, bool | np.bool):
            raise QueryTypeError(f"available must be True or False; got {available!r}")
        wanted = row_array(rows, "rows", self._core.n_rows)
        with self._changes.lock, core_errors(QueryError, "the items cannot be switched"):
            self._core.set_available(wanted, bool(available))

    def compact(self, wait: bool = True) -> Future[None] | None:
        """Rebuild the index over the items there are, so that searches are as fast as on a new catalogue.

        Searches and changes go on meanwhile. Rows and answers stay. A second call joins a compaction that runs.

        Parameters
        ----------
        wait : bool
            Whether to return when it is done; otherwise it runs in a thread of its own.

        Returns
        -------
        concurrent.futures.Future or None
            With ``wait=False``, what is done when the compaction is; it cannot be cancelled.
        """
        if not wait:
            return self._changes.start_compaction()
        self._changes.compact()
        return None

    def save(self, path: str | PathLike[str]) -> None:
        """Write the catalogue to one file, whole or not at all. Compacts first.

        Parameters
        ----------
        path : path-like
            The file; what is there is replaced in the end, also when this catalogue was loaded from it.

        Raises
        ------
        OSError
            If it cannot be written; what was there is still there then.
        """
        self._changes.compact()
        with self._changes.lock:  # what has changed since is compacted while nothing else changes
            for _ in range(2):  # the first may join a compaction that began before the last change
                if self._core.n_pending:
                    self._changes.compact()
            arrays, n_rows = self._core.arrays(), self._core.n_rows
        write_catalogue(Path(path), arrays, parts=self.parts, tags=self.tags, n_rows=n_rows)

    @property
    def n_items(self) -> int:
        """Number of items that are not removed, switched off ones included."""
        return self._core.n_items

    @property
    def n_rows(self) -> int:
        """Number of rows given out so far; the next item gets this row."""
        return self._core.n_rows

    @property
    def n_pending(self) -> int:
        """Number of items added or removed since the last compaction, which the next one would tidy up."""
        return self._core.n_pending

    @property
    def dim(self) -> int:
        """Width D of a vector."""
        return self._dim

    @property
    def parts(self) -> tuple[int, ...]:
        """Widths of the parts of a vector."""
        return tuple(self._core.parts)

    @property
    def tags(self) -> tuple[str, ...] | None:
        """Names of the tags in the order of their numbers; None where the catalogue was built without."""
        return None if self._book is None else self._book.names

    @property
    def simd_level(self) -> str:
        """The SIMD level that searches use."""
        return self._core.simd_level

    def __len__(self) -> int:
        return self._core.n_items

    def __repr__(self) -> str:
        n_tags = "no" if self._book is None else len(self._book.names)
        return f"<Catalogue of {len(self)} items, {self._dim} dimensions, {n_tags} tags>"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a Catalogue can be neither pickled nor copied; save() it, and load() the file")
