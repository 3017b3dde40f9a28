# The bundle that a recommender answers from, and putting another one in its place while queries run.

from __future__ import annotations

from dataclasses import replace
from os import PathLike
from threading import Lock

from dpr_infer.bundle import Bundle
from dpr_infer.errors import QueryError
from dpr_infer.opened import OpenOptions, open_all
from dpr_infer.pipeline import Pipeline
from dpr_infer.types import CarriedChanges


class Reloadable:
    """The part of a recommender that holds the opened bundle.

    Whoever answers a call reads `_opened` once, or one of the properties that do, and goes on with what it got: so a
    call is answered by one bundle from start to end, and a bundle lives as long as a call needs it.
    """

    def __init__(self, path: str | PathLike[str], options: OpenOptions) -> None:
        self._path = path
        self._options = options
        self._reloading, self._changing = Lock(), Lock()
        self._opened = open_all(path, options)

    @property
    def _bundle(self) -> Bundle:
        return self._opened.bundle

    @property
    def _pipeline(self) -> Pipeline:
        return self._opened.pipeline

    def reload(
        self, path: str | PathLike[str] | None = None, *, changes: str = "keep", verify: str = "full"
    ) -> CarriedChanges:
        """Open a bundle with the options of this recommender and, if it is whole and answers, put it in place.

        Queries go on meanwhile. A call is answered by one bundle from start to end: one that began before the swap
        by the old one, which is closed when the last of them is done. Until then both are in memory. The new bundle
        begins with an empty cache of prompts; rows of the one mean nothing in the other.

        Parameters
        ----------
        path : path-like, optional
            The folder. By default that of the bundle in place, which may hold another bundle by now.
        changes : {"keep", "drop"}
            What becomes of `add_items`, `remove_items` and `set_available`. "keep": items that were removed or
            switched off are so in the new bundle, by their ids, and in any later one, until they are added or switched
            on again. Items that were added are added again: those given by tags get a place by the new bundle's tags,
            those given by vectors keep it if the new bundle's graphs are the same files, and are lost otherwise. If the
            new bundle has an item of that id itself, that one counts. "drop": the bundle is taken as it is.
        verify : {"fast", "full"}
            As for opening a recommender, but "full" by default: nobody waits for a swap, and what is served already is
            not given up for a bundle that was damaged on its way here.

        Returns
        -------
        CarriedChanges
            What was done again, and which items were lost; empty for "drop".

        Raises
        ------
        DprError
            As opening a recommender, or as a query that the new bundle fails to answer. The old bundle stays in place
            then, with all that was changed, and so does the path.
        QueryError
            If `changes` or `verify` is neither of its two.
        """
        if changes not in ("keep", "drop"):
            raise QueryError(f'changes must be "keep" or "drop"; got {changes!r}')
        with self._reloading:
            path = self._path if path is None else path
            opened = open_all(path, replace(self._options, verify=verify))
            if verify == "fast":
                opened.try_out()  # a full check ends with that
            with self._changing:  # a change waits, and is then made to the new bundle
                carried = (
                    opened.changes.take_over(self._opened.changes) if changes == "keep" else CarriedChanges()
                )
                self._opened, self._path = opened, path
        return carried
