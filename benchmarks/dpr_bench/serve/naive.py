# What one would write in an afternoon: FastAPI around the model, no batching. Run by `python -m dpr_bench.serve.naive`.
"""The naive server that dpr-serve is compared with."""

from __future__ import annotations

import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field

from dpr_bench.serve.naive_model import NaiveModel, UnknownItem

__all__ = ["build_naive_app"]


class Request(BaseModel):
    """What is asked."""

    history: list[str] = []
    prompt: str | None = None
    k: int = Field(default=10, ge=1, le=1000)


class Item(BaseModel):
    """One item of an answer."""

    id: str
    title: str
    tags: list[str]
    score: float


class Wish(BaseModel):
    """What was understood about one tag."""

    tag: str
    asked: float
    refused: float


class Answer(BaseModel):
    """What is answered, in the words of dpr-serve."""

    model: dict[str, str]
    items: list[Item]
    wishes: list[Wish]
    prompt_truncated: bool
    history_truncated: bool
    history_unread: int
    prompt_cached: bool
    took_ms: float


def build_naive_app(model: NaiveModel, *, pool: bool) -> FastAPI:
    """The application: ``POST /v1/recommend`` and ``GET /health``.

    Parameters
    ----------
    model : NaiveModel
        What answers.
    pool : bool
        Run the model on FastAPI's pool of threads, as a plain ``def`` does, or on the event loop, as ``async def``.
    """
    app = FastAPI()

    def recommend(request: Request) -> Answer:
        begun = perf_counter()
        try:
            answer: dict[str, Any] = model.recommend(request.history, request.prompt, request.k)
        except UnknownItem as error:
            raise HTTPException(422, str(error)) from None
        took_ms = 1e3 * (perf_counter() - begun)
        return Answer(model={"name": "naive", "version": "0"}, took_ms=took_ms, **answer)

    async def recommend_on_loop(request: Request) -> Answer:
        return recommend(request)

    app.post("/v1/recommend")(recommend if pool else recommend_on_loop)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    return app


def main(checkpoint: str, port: str, where: str) -> None:
    """Serve a checkpoint on 127.0.0.1; `where` is ``loop`` or ``pool``."""
    app = build_naive_app(NaiveModel(Path(checkpoint)), pool=where == "pool")
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(port),
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
