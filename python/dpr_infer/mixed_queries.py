# Queries that differ in their options and are answered together; one that is wrong spoils none of the others.

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dpr_infer.errors import DprError, QueryTypeError
from dpr_infer.prompt_text import Prompt
from dpr_infer.reload import Reloadable
from dpr_infer.request import QueryArguments, check_options, one_list
from dpr_infer.stopwatch import Stopwatch
from dpr_infer.types import Recommendation


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What `Recommender.query` takes, to be answered beside others. Nothing is checked before it is answered.

    Attributes
    ----------
    history, prompt, k, exclude, exclude_history, where, strength, steer, unknown_items
        As for `Recommender.query`.
    """

    history: Iterable[str] = ()
    prompt: Prompt | None = None
    k: int = 10
    exclude: Iterable[str] = ()
    exclude_history: bool = True
    where: str | None = None
    strength: float = 1.0
    steer: str = "soft"
    unknown_items: str = "error"


class MixedQueries(Reloadable):
    """The part of a recommender that answers queries of different options at once."""

    def query_each(
        self, queries: Iterable[Query], *, timings: bool = False
    ) -> list[Recommendation | DprError]:
        """Recommend items to several users at once, each asking in their own way.

        The engines run once for all. So does the kernel, but for queries whose k differ by more than a factor of two.

        Parameters
        ----------
        queries : iterable of Query
            The queries; there may be none.
        timings : bool
            Report the time of each step, of the whole batch.

        Returns
        -------
        list of Recommendation or DprError
            One a query, in order: the answer as of `query_batch`, or the error that `query` would raise.

        Raises
        ------
        QueryTypeError
            If an entry is no Query.
        """
        watch = Stopwatch()
        checked = [_check(query, number) for number, query in enumerate(queries)]
        return self._pipeline.recommend_each(checked, watch, timings=timings)

    def knows_prompt(self, prompt: Prompt | None) -> bool:
        """Tell whether a prompt would be read without its encoder: it is neutral, or was read before, or can't be.

        Parameters
        ----------
        prompt : Prompt or None
            The prompt.

        Returns
        -------
        bool
            Whether it is cheap. Another thread may change this before it is used.
        """
        return self._pipeline.knows_prompt(prompt)


def _check(query: Query, number: int) -> QueryArguments | DprError:
    if not isinstance(query, Query):
        raise QueryTypeError(f"queries[{number}] must be a Query; got {type(query).__name__}")
    try:
        options = check_options(
            query.k,
            strength=query.strength,
            steer=query.steer,
            exclude_history=query.exclude_history,
            unknown_items=query.unknown_items,
            where=query.where,
        )
        return QueryArguments(
            one_list(query.history, "history"), query.prompt, one_list(query.exclude, "exclude"), options
        )
    except DprError as error:
        return error
