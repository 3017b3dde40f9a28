# What requests must look like, as types that msgspec decodes and openapi.py describes. What depends on settings or on
# the bundle is checked in checks.py.

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

MAX_TEXT = 10_000  # characters of a turn
MAX_TURNS = 32
MAX_EXACT = 256  # tags of an exact turn
MAX_IDS = 10_000  # of a history, and of exclude
MAX_NAME = 200  # characters of an item id, a user or an event id
MAX_WHERE = 4_096  # characters
MAX_STRENGTH = 1_000.0
MAX_EVENTS = 1_000  # in one call
MAX_SEARCH = 200  # characters of a title to search for
MAX_FOUND = 100  # items of a search
MAX_REQUESTS = 10_000  # in one call; settings allow fewer

NO_NUL = r"^[^\u0000]*$"

Role = Literal["ask", "refuse", "release"]
Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
# Of a user or an event. The store says so where it does not hold; here it is told.
Kept = Annotated[str, Meta(min_length=1, max_length=MAX_NAME, extra_json_schema={"pattern": NO_NUL})]
Text = Annotated[str, Meta(max_length=MAX_TEXT)]
Exact = Annotated[
    dict[str, Role],
    Meta(
        max_length=MAX_EXACT,
        description="A turn that says its wishes exactly: tags, spelt as the model has them, and roles.",
        examples=[{"Horror": "refuse", "Comedy": "ask"}],
    ),
]
Turn = Text | Exact
Turns = Annotated[list[Turn], Meta(max_length=MAX_TURNS, description="Turns, oldest first.")]
Ids = Annotated[list[Name], Meta(max_length=MAX_IDS)]
Where = Annotated[
    str,
    Meta(
        max_length=MAX_WHERE, description="Tag expression that items must fulfil.", examples=["comedy & !war"]
    ),
]
Strength = Annotated[
    float, Meta(ge=0, le=MAX_STRENGTH, description="How far the prompt may move the ranking; 0 not at all.")
]
Steer = Annotated[
    Literal["soft", "strict"],
    Meta(description="strict: no item with a tag that the prompt refuses, as understood."),
]
K = Annotated[
    int, Meta(ge=1, le=2**31 - 1, description="Most items to return; the server's limit may be lower.")
]
Explain = Annotated[
    bool,
    Meta(description="Also give the plain ranking, where each item stands in it, and the time of each step."),
]
UnknownItems = Annotated[
    Literal["error", "skip"], Meta(description="What to do about ids that the catalogue does not have.")
]


class RecommendOne(Struct, forbid_unknown_fields=True, kw_only=True):
    """What to recommend to one user. Neither a history nor a user: a new user."""

    history: Annotated[Ids | None, Meta(description="Item ids, oldest first. Excludes user.")] = None
    user: Annotated[Kept | None, Meta(description="A user with a stored history. Excludes history.")] = None
    prompt: Annotated[
        Turn | Turns | None,
        Meta(description="What is wanted: a turn, several, or null.", examples=["funny, no war"]),
    ] = None
    k: K = 10
    exclude: Annotated[Ids, Meta(description="Item ids never to return.")] = []
    exclude_history: Annotated[bool, Meta(description="Never return items of the history.")] = True
    where: Where | None = None
    strength: Strength = 1.0
    steer: Steer = "soft"
    unknown_items: UnknownItems = "error"
    explain: Explain = False


class RecommendMany(Struct, forbid_unknown_fields=True, kw_only=True):
    """Several requests, answered together: all or none."""

    requests: Annotated[list[RecommendOne], Meta(max_length=MAX_REQUESTS)]


class RecommendCall(RecommendOne, forbid_unknown_fields=True, kw_only=True):
    """Either of the two, as it is decoded; openapi.py describes them apart."""

    requests: Annotated[list[RecommendOne], Meta(max_length=MAX_REQUESTS)] | UnsetType = UNSET


class SessionStart(Struct, forbid_unknown_fields=True, kw_only=True):
    """A conversation to begin. The options hold for all its turns; the stored history of a user is copied."""

    history: Annotated[Ids | None, Meta(description="Item ids, oldest first. Excludes user.")] = None
    user: Annotated[Kept | None, Meta(description="A user with a stored history. Excludes history.")] = None
    exclude: Annotated[Ids, Meta(description="Item ids never to return.")] = []
    exclude_history: Annotated[bool, Meta(description="Never return items of the history.")] = True
    where: Where | None = None
    strength: Strength = 1.0
    steer: Steer = "soft"
    unknown_items: UnknownItems = "error"


class Ask(Struct, forbid_unknown_fields=True, kw_only=True):
    """How to answer a session once; strength and steer go before what the session has."""

    k: K = 10
    explain: Explain = False
    strength: Strength | UnsetType = UNSET
    steer: Steer | UnsetType = UNSET


class AskTurn(Ask, forbid_unknown_fields=True, kw_only=True):
    """The next turn of a session, and how to answer."""

    turn: Turn


class TurnList(Struct, forbid_unknown_fields=True, kw_only=True):
    """All turns of a session."""

    turns: Turns


class SessionEvent(Struct, forbid_unknown_fields=True, kw_only=True):
    """An item to append to a session's history."""

    item: Name


class UserEvent(Struct, forbid_unknown_fields=True, kw_only=True):
    """A user met an item."""

    event_id: Annotated[
        Kept, Meta(description="Of your choice. A second event of the user with it changes nothing.")
    ]
    item: Name
    timestamp: (
        Annotated[
            float, Meta(ge=-1e12, le=1e12, description="Seconds since 1970; the time of arrival by default.")
        ]
        | None
    ) = None


class UserEvents(Struct, forbid_unknown_fields=True, kw_only=True):
    """Events of one user: all stored or none."""

    events: Annotated[list[UserEvent], Meta(min_length=1, max_length=MAX_EVENTS)]
