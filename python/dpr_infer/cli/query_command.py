# dpr-query: recommends for one history, once or in a conversation.

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from dpr_infer.cli.comparison import Settings, as_document, compare
from dpr_infer.cli.demo import show_demo
from dpr_infer.cli.history_choice import from_example, from_ids, from_titles
from dpr_infer.cli.screen import make_console, show_comparison
from dpr_infer.cli.session import Session
from dpr_infer.recommender import Recommender

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def query(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.", show_default=False)],
    history: Annotated[
        str | None, typer.Option(help='Item ids, oldest first: "id,id,...". Empty for a new user.')
    ] = None,
    titles: Annotated[
        str | None, typer.Option(help='Titles, oldest first: "title; title". Parts of titles will do.')
    ] = None,
    example: Annotated[
        str | None, typer.Option(help="Name, or number from 1, of one of the bundle's examples.")
    ] = None,
    prompt: Annotated[str | None, typer.Option(help='What is wanted, such as "funny, no war films".')] = None,
    k: Annotated[int, typer.Option(min=1, help="Most items to return.")] = 10,
    where: Annotated[
        str | None, typer.Option(help='Tag expression that items must fulfil: "comedy & !war".')
    ] = None,
    strength: Annotated[float, typer.Option(help="How far the prompt may move the ranking, >= 0.")] = 1.0,
    steer: Annotated[str, typer.Option(help='"soft", or "strict": no item with a refused tag.')] = "soft",
    exclude: Annotated[str, typer.Option(help='Item ids never to return: "id,id,...".')] = "",
    keep_history: Annotated[
        bool, typer.Option("--keep-history", help="Items of the history may be returned.")
    ] = False,
    demo: Annotated[
        bool, typer.Option("--demo", help="Show three prompts at work for one of the bundle's examples.")
    ] = False,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the engines.")] = 1,
    engine: Annotated[
        str, typer.Option(help="What runs the graphs: onnxruntime, openvino or tensorrt.")
    ] = "onnxruntime",
    provider: Annotated[
        list[str] | None,
        typer.Option(help="Execution provider of onnxruntime, most preferred first; may be repeated."),
    ] = None,
    allow_fallback: Annotated[
        bool, typer.Option("--allow-fallback", help="Do without providers that can't be had.")
    ] = False,
    precision: Annotated[
        str | None, typer.Option(help="What openvino or tensorrt computes in.  [default: fp32]")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document (described in docs/cli.md).")
    ] = False,
) -> None:
    """Recommend items for a history, without a prompt and with it.

    On a terminal, whatever is missing is asked for: first the user, then prompt after prompt. With a history
    and a prompt, with --json, or without a terminal, the answer is printed once; a missing history is then a
    new user's.
    """
    if sum(option is not None for option in (history, titles, example)) > 1:
        raise typer.BadParameter("--history, --titles and --example exclude each other")
    if demo and any(option is not None for option in (history, titles, prompt)):
        raise typer.BadParameter("--demo takes its user from --example and makes its own prompts")
    settings = Settings(k, where, strength, steer, from_ids(exclude), not keep_history)
    recommender = Recommender(
        bundle,
        threads=threads,
        engine=engine,
        providers=provider,
        allow_fallback=allow_fallback,
        precision=precision,
    )
    if demo:
        show_demo(make_console(), recommender, example, settings)
        return
    ids = _history(recommender, history, titles, example)
    if as_json or not _is_conversation() or (ids is not None and prompt is not None):
        _answer_once(recommender, ids or (), prompt, settings, as_json=as_json)
    else:
        _converse(recommender, ids, prompt, settings)


def _history(
    recommender: Recommender, history: str | None, titles: str | None, example: str | None
) -> tuple[str, ...] | None:
    if history is not None:
        return from_ids(history)
    if titles is not None:
        # Several items may match: the best one is taken, and the output shows which.
        return from_titles(titles, recommender.items, lambda _, rows: rows[0])
    return None if example is None else from_example(example, recommender)


def _is_conversation() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _answer_once(
    recommender: Recommender,
    history: tuple[str, ...],
    prompt: str | None,
    settings: Settings,
    *,
    as_json: bool,
) -> None:
    comparison = compare(recommender, history, prompt, settings)
    if as_json:
        document = as_document(comparison, recommender)
        sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")
    else:
        show_comparison(make_console(), comparison, recommender.items)


def _converse(
    recommender: Recommender, history: tuple[str, ...] | None, prompt: str | None, settings: Settings
) -> None:
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - gives input() line editing and a memory
    console = make_console()
    about = recommender.manifest
    console.print(
        f"{len(recommender.items)} items · {len(about.tags)} tags · {about.licence_data}", markup=False
    )
    Session(recommender, console, settings, input).run(history, prompt)
