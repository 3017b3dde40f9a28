# The catalogue's items, by title and by id, and histories to try things with.

from __future__ import annotations

import asyncio

from litestar import get
from litestar.types import ASGIApp

from dpr_infer.items import ItemTable
from dpr_infer.serve.answers import Example, Examples, FoundItem, FoundItems, Item
from dpr_infer.serve.bodies import AnyRequest, query_number, query_text
from dpr_infer.serve.problems import Problem
from dpr_infer.serve.replies import json_reply
from dpr_infer.serve.schemas import MAX_FOUND, MAX_SEARCH
from dpr_infer.serve.services import services_of


@get("/v1/items")
async def search_items(request: AnyRequest) -> ASGIApp:
    """Find items by their titles."""
    text = query_text(request, "q", MAX_SEARCH)
    limit = query_number(request, "limit", 10, MAX_FOUND)
    model = services_of(request).served.current
    items = model.recommender.items
    # The first search makes an index of the titles: on a large catalogue the event loop may not wait for that.
    rows = await asyncio.to_thread(items.search, text, limit)
    return json_reply(FoundItems(model=model.ref, items=[_item(items, row) for row in rows]))


@get("/v1/items/{item_id:path}")
async def show_item(request: AnyRequest) -> ASGIApp:
    """Return one item."""
    model = services_of(request).served.current
    items = model.recommender.items
    wanted = str(request.path_params["item_id"]).removeprefix("/")  # an id may have slashes in it
    row = items.row_of.get(wanted)
    if row is None:
        raise Problem(404, f"the catalogue has no item {wanted[:50]!r}", "unknown-item")
    return json_reply(
        FoundItem(model=model.ref, id=items.ids[row], title=items.titles[row], tags=list(items.tags[row]))
    )


@get("/v1/examples")
async def list_examples(request: AnyRequest) -> ASGIApp:
    """Return the bundle's example histories."""
    model = services_of(request).served.current
    items = model.recommender.items
    examples = [
        Example(name=name, items=[_item(items, items.row_of[item]) for item in history if item in items])
        for name, history in model.recommender.examples.items()
    ]
    return json_reply(Examples(model=model.ref, examples=examples))


def _item(items: ItemTable, row: int) -> Item:
    return Item(id=items.ids[row], title=items.titles[row], tags=list(items.tags[row]))
