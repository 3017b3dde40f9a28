# What the API answers, as types that msgspec encodes and openapi.py describes.

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType

from dpr_infer.serve.schemas import Exact


class ModelRef(Struct, kw_only=True, frozen=True):
    """The model that gave the answer: its name, and the beginning of its manifest's SHA-256."""

    name: str
    version: str


class Item(Struct, kw_only=True):
    """An item of the catalogue."""

    id: str
    title: str
    tags: list[str]


class RankedItem(Item, kw_only=True):
    """An item of an answer. What follows the score is there if an explanation was asked for.

    `asked` and `refused` are the item's own tags of which the prompt was understood to say so; `plain_rank` is the
    item's place, from 1, in the ranking without the prompt, null beyond the first 1000.
    """

    score: float
    asked: list[str] | UnsetType = UNSET
    refused: list[str] | UnsetType = UNSET
    plain_rank: int | UnsetType | None = UNSET


class PlainItem(Item, kw_only=True):
    """An item of the ranking without the prompt."""

    score: float


class UnderstoodWish(Struct, kw_only=True):
    """How much a tag is asked for and refused, each from 0 to 1, as the prompt was understood."""

    tag: str
    asked: float
    refused: float


class Answer(Struct, kw_only=True):
    """Recommended items, best first, and what was understood. `plain` and `timings_ms` explain, if asked for."""

    items: list[RankedItem]
    wishes: list[UnderstoodWish]
    prompt_truncated: bool
    history_truncated: bool
    history_unread: int
    prompt_cached: bool
    took_ms: float
    plain: list[PlainItem] | UnsetType = UNSET
    timings_ms: dict[str, float] | UnsetType = UNSET


class ModelAnswer(Answer, kw_only=True):
    """The answer to one request."""

    model: ModelRef


class Answers(Struct, kw_only=True):
    """The answers to several requests, in their order."""

    model: ModelRef
    answers: list[Answer]


class SessionAnswer(ModelAnswer, kw_only=True):
    """The answer to a session, and all its turns."""

    turns: list[str | Exact]


class SessionState(Struct, kw_only=True):
    """A session: its id, its history, oldest first, and its turns."""

    model: ModelRef
    id: str
    history: list[str]
    turns: list[str | Exact]


class FoundItems(Struct, kw_only=True):
    """Items whose titles fit, best first."""

    model: ModelRef
    items: list[Item]


class FoundItem(Item, kw_only=True):
    """One item."""

    model: ModelRef


class Example(Struct, kw_only=True):
    """A history to try things with, oldest item first."""

    name: str
    items: list[Item]


class Examples(Struct, kw_only=True):
    """The bundle's example histories."""

    model: ModelRef
    examples: list[Example]


class ExpertInfo(Struct, kw_only=True):
    """An expert: it steers toward what is asked for, or away from what is refused."""

    name: str
    role: str


class Licence(Struct, kw_only=True):
    """What the bundle says about the use of its data and weights."""

    data: str
    weights: str
    redistributable: bool


class ModelInfo(Struct, kw_only=True):
    """What serves, and the limits of requests. `users` tells whether histories of users are kept."""

    model: ModelRef
    tags: list[str]
    experts: list[ExpertInfo]
    items: int
    limits: dict[str, float]
    licence: Licence
    users: bool
    index: str
    providers: list[str]
    simd_level: str
    wish_threshold: float


class StoredEvents(Struct, kw_only=True):
    """How many events were taken in, and how many were there before."""

    model: ModelRef
    stored: int
    duplicates: int


class UserState(Struct, kw_only=True):
    """A user's newest items, oldest first, and the number of events kept."""

    model: ModelRef
    user: str
    history: list[str]
    events: int


class Reloaded(Struct, kw_only=True):
    """The model that serves now, and that of before."""

    model: ModelRef
    previous: ModelRef
