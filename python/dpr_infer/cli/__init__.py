# The command lines of the runtime. What starts them needs neither typer nor rich, so that their absence is
# told politely.

from __future__ import annotations

import importlib
import sys

from dpr_infer._optional import require_cli
from dpr_infer.errors import DprError, QueryError


def launch(module: str) -> None:
    """Run a command line and leave the process.

    An error of this package is one line on stderr; the exit code is 2 where the user can mend it by other
    arguments and 1 otherwise.

    Parameters
    ----------
    module : str
        Name of the module that has the typer application `app`.
    """
    try:
        require_cli()
        importlib.import_module(module).app()
    except DprError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2 if isinstance(error, QueryError) else 1)
