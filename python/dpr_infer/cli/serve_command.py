# dpr-serve: serves a bundle over HTTP. Its flags and variables are those of serve/settings.py's table.

from __future__ import annotations

import inspect
import os
import sys
from typing import Annotated, Any

import typer

from dpr_infer._optional import require_serve
from dpr_infer.serve.settings import OPTIONS, Option, read_settings, unknown_variables

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def serve(**flags: Any) -> None:
    """Serve a bundle over HTTP: recommendations, sessions, users' histories, a page to try it on.

    Every flag can be given as the environment variable beside it instead; the flag goes first. SIGTERM finishes what
    is under way and ends; SIGHUP reloads the bundle.
    """
    require_serve()
    settings = read_settings(flags, os.environ)
    from dpr_infer.serve.lifecycle import run

    for name in unknown_variables(os.environ):
        sys.stderr.write(f"warning: {name} means nothing to dpr-serve\n")
    sys.exit(run(settings))


def _parameter(option: Option) -> inspect.Parameter:
    """Return how typer learns of an option. Texts are read by settings.py, the same way as those of variables."""
    if option.name == "bundle":
        argument = typer.Argument(help=f"{option.text} [env: {option.variable}]", show_default=False)
        return _keyword(option.name, Annotated[str | None, argument], None)
    help_text = f"{option.text} [env: {option.variable}; default: {option.shown_default}]"
    flag = typer.Option(option.flag, help=help_text, show_default=False, metavar=option.metavar or None)
    if option.kind is bool:
        return _keyword(option.name, Annotated[bool, flag], False)
    if option.kind is tuple:
        return _keyword(option.name, Annotated[list[str] | None, flag], None)
    return _keyword(option.name, Annotated[str | None, flag], None)


def _keyword(name: str, annotation: Any, default: object) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


serve.__signature__ = inspect.Signature([_parameter(option) for option in OPTIONS])  # type: ignore[attr-defined]
serve.__annotations__ = {option.name: _parameter(option).annotation for option in OPTIONS}
app.command()(serve)
