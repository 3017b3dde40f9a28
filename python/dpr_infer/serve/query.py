# One query on its way to the engine: checked, whole, and bound to the model that it was checked against.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dpr_infer.prompt_text import Prompt

if TYPE_CHECKING:
    from dpr_infer.serve.served_model import OpenModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What `Recommender.query` takes, and the model that answers. Queries of one model share native batches.

    Attributes
    ----------
    model : OpenModel
        The model that the query was checked against. It answers, be there a newer one by then or not: so an
        answer says truly whose it is, and no item or tag of it is unknown.
    history, exclude : sequence of str
        Item ids; the history oldest first.
    prompt : str, mapping, sequence of them, or None
        The prompt, or its turns.
    k : int
        Most items to return, >= 1.
    exclude_history : bool
        Whether items of the history are left out.
    where : str or None
        Tag expression.
    strength : float
        How far the prompt may move the ranking, finite and >= 0.
    steer : {"soft", "strict"}
        Whether items with a refused tag are left out.
    unknown_items : {"error", "skip"}
        What to do about ids that the catalogue does not have.
    """

    model: OpenModel
    history: Sequence[str] = ()
    prompt: Prompt | None = None
    k: int = 10
    exclude: Sequence[str] = ()
    exclude_history: bool = True
    where: str | None = None
    strength: float = 1.0
    steer: str = "soft"
    unknown_items: str = "error"
