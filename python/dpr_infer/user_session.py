# One user's history and conversation, kept between queries with what was made of them: docs/sessions.md.

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock
from typing import SupportsIndex
from weakref import ref

import numpy as np

from dpr_infer.errors import QueryError
from dpr_infer.history_reading import HistoryReading
from dpr_infer.pipeline import Pipeline
from dpr_infer.prompt_text import Prompt, Turn, check_turns
from dpr_infer.read_query import ReadQuery
from dpr_infer.reload import Reloadable
from dpr_infer.request import Ids, QueryArguments, check_options, one_list, rows_of
from dpr_infer.stopwatch import Stopwatch
from dpr_infer.types import Recommendation, Wish


class UserSession:
    """A user's history, which grows, and what they say, turn by turn. `Recommender.session` makes one.

    A query answers as `Recommender.query` with this history and these turns, but does anew only what has changed. The
    user vector is kept as long as the history is the same, and so are the rows of its items. Where the bundle has a
    graph backbone_step, as GRU4Rec's has, a new item costs one step of it up to the bundle's limit of the history;
    elsewhere the history is read again.

    All methods may be called from several threads. Each sees the session as it is between two changes; changes are
    made one after the other, and a query under way answers from the state that it began with.

    After `Recommender.reload` the history is read again, by the ids of its items, from the new bundle; after
    `add_items` and `remove_items` it is looked up again. A session keeps no bundle open.
    """

    def __init__(self, recommender: Reloadable, *, skip_unknown: bool) -> None:
        self._recommender = recommender
        self._skip_unknown = skip_unknown
        self._history: list[str] = []
        self._turns: tuple[Turn, ...] = ()
        self._kept: tuple[ref[Pipeline], HistoryReading] | None = None
        self._lock = Lock()

    @property
    def history(self) -> tuple[str, ...]:
        """Item ids, oldest first."""
        with self._lock:
            return tuple(self._history)

    @property
    def turns(self) -> tuple[Turn, ...]:
        """What was said, oldest first; copies."""
        with self._lock:
            turns = self._turns
        return check_turns(turns)

    def append(self, items: str | Iterable[str]) -> None:
        """Add to the history what the user chose next. The next query reads it.

        Parameters
        ----------
        items : str or iterable of str
            An item id, or several, oldest first.

        Raises
        ------
        UnknownItemError
            If an id is unknown, and the session was not told to skip such. Nothing is added then.
        QueryTypeError
            If it is neither, or an id is no str.
        """
        self._append([items] if isinstance(items, str) else one_list(items, "items"), "items")

    def say(self, turn: Turn) -> tuple[Wish, ...]:
        """Add a turn to the conversation, and read it.

        Parameters
        ----------
        turn : str or mapping of str to str
            A text or an exact turn, as for `Recommender.query`.

        Returns
        -------
        tuple of Wish
            What stands now, as `Recommender.wishes`.

        Raises
        ------
        QueryError
            If it cannot be read, or there are 32 turns already. It is not added then.
        EngineError
            If an engine fails. It is not added then, either.
        """
        with self._lock:
            return self._converse(check_turns((*self._turns, turn)))

    def undo(self) -> tuple[Wish, ...]:
        """Drop the last turn and return what stands then; raises QueryError if there is none."""
        with self._lock:
            if not self._turns:
                raise QueryError("there must be a turn to undo; the session has none")
            return self._converse(self._turns[:-1])

    def start_over(self) -> None:
        """Drop all turns; the history stays."""
        with self._lock:
            self._turns = ()

    def query(
        self,
        k: SupportsIndex = 10,
        *,
        exclude: Iterable[str] = (),
        exclude_history: bool = True,
        where: str | None = None,
        strength: float = 1.0,
        steer: str = "soft",
        timings: bool = False,
    ) -> Recommendation:
        """Recommend items, as `Recommender.query` with this history and these turns.

        Parameters
        ----------
        k, exclude, exclude_history, where, strength, steer, timings
            As for `Recommender.query`.

        Returns
        -------
        Recommendation
            The items, best first. With a graph backbone_step, scores may differ from those of `Recommender.query` by
            the order of sums, some 1e-6 relative; else they have the same bits.

        Raises
        ------
        UnknownItemError
            If an item of the history has been removed, or the bundle in place does not know it, and the session was
            not told to skip such; or if one of `exclude` is unknown, likewise.
        QueryError, EngineError
            As `Recommender.query`.
        """
        watch = Stopwatch()
        options = check_options(
            k,
            strength=strength,
            steer=steer,
            exclude_history=exclude_history,
            unknown_items="skip" if self._skip_unknown else "error",
            where=where,
        )
        excluded = one_list(exclude, "exclude")
        pipeline = self._recommender._pipeline
        with self._lock:
            # The rest first: the engine spends no time on a query that must fail.
            asked = QueryArguments([], _prompt(self._turns), excluded, options)
            (rest,) = pipeline.read([asked], watch)
            reading = self._read_history(pipeline, watch)
        return pipeline.answer([_joined(rest, reading)], watch, timings=timings)[0]

    def _append(self, ids: Ids, what: str) -> None:
        """Add ids to the history if they are known; `what` names them in messages."""
        rows_of(ids, what, self._recommender._bundle.items, skip_unknown=self._skip_unknown)
        with self._lock:
            self._history += ids

    def _converse(self, turns: tuple[Turn, ...]) -> tuple[Wish, ...]:
        """Take turns over if they can be read. The lock is held: turns come one after the other."""
        reading = self._recommender._pipeline.read_prompt(_prompt(turns))
        self._turns = turns
        return () if reading is None else reading.wishes

    def _read_history(self, pipeline: Pipeline, watch: Stopwatch) -> HistoryReading:
        """Return the reading of the history, as far as possible the one of before. The lock is held."""
        watch.skip()
        before = None
        if self._kept is not None:
            of, kept = self._kept
            before = kept if of() is pipeline else None
        reading = pipeline.histories.read(self._history, before, skip_unknown=self._skip_unknown)
        if reading is not before:
            self._kept = ref(pipeline), reading
        watch.lap("encode_history")
        return reading


class UserSessions(Reloadable):
    """The part of a recommender that makes sessions."""

    def session(
        self,
        history: Iterable[str] = (),
        turns: Prompt | None = None,
        *,
        unknown_items: str = "error",
    ) -> UserSession:
        """Begin a session: a user's history and conversation, with what was made of them kept between queries.

        Parameters
        ----------
        history : iterable of str
            Item ids, oldest first.
        turns : str, mapping of str to str, or sequence of them, optional
            What was said before.
        unknown_items : {"error", "skip"}
            What to do about ids that the catalogue does not have, in all calls of the session. With "skip" they stay
            in the history and are read as soon as a catalogue has them.

        Returns
        -------
        UserSession
            The session.

        Raises
        ------
        UnknownItemError
            If ids of the history are unknown and `unknown_items` is "error".
        QueryError
            If an argument is wrong, or a turn can't be read.
        """
        if unknown_items not in ("error", "skip"):
            raise QueryError(f'unknown_items must be "error" or "skip"; got {unknown_items!r}')
        session = UserSession(self, skip_unknown=unknown_items == "skip")
        session._append(one_list(history, "history"), "history")
        if turns is not None:
            session._converse(check_turns((turns,) if isinstance(turns, str) else turns))
        return session


def _prompt(turns: tuple[Turn, ...]) -> Prompt | None:
    """Return turns as most callers of `Recommender.query` give them, so that they share what is kept of a prompt."""
    return turns if len(turns) > 1 else turns[0] if turns else None


def _joined(rest: ReadQuery, reading: HistoryReading) -> ReadQuery:
    """Put the history into a query that was read without it."""
    excluded = rest.excluded
    if rest.options.exclude_history:
        excluded = np.concatenate([excluded, reading.rows]) if len(excluded) else reading.rows
    unread = len(reading.rows) - len(reading.read)
    return rest._replace(history=reading.read, unread=unread, excluded=excluded, user=reading.user)
