# One small endpoint, written for either framework and run by either server: `python -m dpr_bench.serve.stack_app`.
"""What the frameworks and servers are compared with."""

from __future__ import annotations

import sys
from typing import Any

import msgspec
from litestar.params import JSONBody
from pydantic import BaseModel

__all__ = ["fastapi_app", "litestar_app", "main"]

_ITEMS = [
    {"id": str(n), "title": f"Item {n}", "tags": ["Comedy", "Drama"], "score": 1.0 / (n + 1)}
    for n in range(10)
]


def litestar_app() -> Any:
    """The endpoint in Litestar, bodies by msgspec."""
    from litestar import Litestar, get, post

    @post("/v1/recommend", status_code=200)
    async def recommend(data: JSONBody[_Request]) -> _Answer:
        return _Answer([_Item(**item) for item in _ITEMS], len(data.history))  # type: ignore[arg-type]

    @get("/ready")
    async def ready() -> dict[str, bool]:
        return {"ready": True}

    return Litestar([recommend, ready], openapi_config=None)


def fastapi_app() -> Any:
    """The endpoint in FastAPI, bodies by pydantic."""
    from fastapi import FastAPI

    app = FastAPI(openapi_url=None)

    @app.post("/v1/recommend")
    async def recommend(data: _RequestModel) -> _AnswerModel:
        return _AnswerModel(items=[_ItemModel(**item) for item in _ITEMS], read=len(data.history))

    @app.get("/ready")
    async def ready() -> dict[str, bool]:
        return {"ready": True}

    return app


class _Request(msgspec.Struct):
    history: list[str]
    prompt: str | None = None
    k: int = 10


class _Item(msgspec.Struct):
    id: str
    title: str
    tags: list[str]
    score: float


class _Answer(msgspec.Struct):
    items: list[_Item]
    read: int


class _RequestModel(BaseModel):
    history: list[str]
    prompt: str | None = None
    k: int = 10


class _ItemModel(BaseModel):
    id: str
    title: str
    tags: list[str]
    score: float


class _AnswerModel(BaseModel):
    items: list[_ItemModel]
    read: int


def main(framework: str, server: str, port: str) -> None:
    """Serve on 127.0.0.1, one process, no access log."""
    if server == "uvicorn":
        import uvicorn

        app = litestar_app() if framework == "Litestar" else fastapi_app()
        uvicorn.run(
            app,
            host="127.0.0.1",
            port=int(port),
            loop="uvloop",
            http="httptools",
            log_level="warning",
            access_log=False,
        )
    else:
        from granian import Granian
        from granian.constants import Interfaces, Loops

        target = f"dpr_bench.serve.stack_app:{framework.lower()}_app"
        Granian(
            target,
            factory=True,
            address="127.0.0.1",
            port=int(port),
            interface=Interfaces.ASGI,
            loop=Loops.uvloop,
            workers=1,
            log_enabled=False,
        ).serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
