# One query on its way to the engine: checked, whole, and bound to the model that it was checked against.

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dpr_infer import mixed_queries

if TYPE_CHECKING:
    from dpr_infer.serve.served_model import OpenModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Query(mixed_queries.Query):
    """A `dpr_infer.Query`, and the model that answers it. Queries of one model share native batches.

    Attributes
    ----------
    model : OpenModel
        The model that the query was checked against. It answers, be there a newer one by then or not: so an
        answer says truly whose it is, and no item or tag of it is unknown.
    """

    model: OpenModel
