# The settings of dpr-serve: one table, from which flags, DPR_* variables, their checks and their description come.

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dpr_infer.engines.choice import ENGINES, PRECISIONS
from dpr_infer.errors import QueryError

_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")

Value = str | int | float | bool | tuple[str, ...] | None


def _option(default: Value, text: str, **limits: Any) -> Any:
    """A field of the table. `limits`: kind, least, most, choices, secret."""
    return field(default=default, metadata={"text": text, **limits}, repr=not limits.get("secret", False))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the server is told when it starts.

    Every field but `bundle` has the flag --its-name and the variable DPR_ITS_NAME. Out of range, a value raises
    QueryError.
    """

    bundle: str = _option("", "Bundle folder.", kind=str)
    host: str = _option("127.0.0.1", "Address to listen on; 0.0.0.0 for all.", kind=str)
    port: int = _option(8000, "Port to listen on; 0 takes a free one.", kind=int, least=0, most=65_535)
    threads: int = _option(1, "Threads within one native batch.", kind=int, least=1, most=1024)
    engine: str = _option("onnxruntime", "What runs the graphs.", kind=str, choices=ENGINES)
    provider: tuple[str, ...] = _option(
        (), "Execution providers of onnxruntime, most preferred first; none is the CPU.", kind=tuple
    )
    allow_fallback: bool = _option(False, "Do without providers that can't be had.", kind=bool)
    precision: str | None = _option(
        None, "What openvino or tensorrt computes in; none is fp32.", kind=str, choices=PRECISIONS
    )
    index: str = _option("exact", "Search of the catalogue.", kind=str, choices=("exact", "hnsw"))
    verify: str = _option(
        "full",
        "Check of a bundle's bytes when it is opened: all, or files below 1 MiB.",
        kind=str,
        choices=("full", "fast"),
    )
    prompt_cache_size: int = _option(
        4096, "Prompts whose readings are kept.", kind=int, least=0, most=10_000_000
    )
    api_key: tuple[str, ...] = _option(
        (), "Keys, any of which a client must show; none lets everybody in.", kind=tuple, secret=True
    )
    admin_key: str | None = _option(
        None, "Key of the reload route; none turns the route off.", kind=str, secret=True
    )
    users: str = _option(
        "dpr-users.sqlite", "Where users' events are kept: a file, redis://host:port/0, or none.", kind=str
    )
    max_history: int = _option(
        1000, "Newest events kept of a user, and items of a session.", kind=int, least=1, most=10_000
    )
    max_body_bytes: int = _option(
        1_048_576, "Largest body of a request.", kind=int, least=1024, most=1_073_741_824
    )
    max_batch: int = _option(64, "Most queries of a native batch.", kind=int, least=1, most=4096)
    batch_wait_ms: float = _option(
        0.3, "Longest wait for company while others are under way.", kind=float, least=0, most=1000
    )
    queue_limit: int = _option(
        512, "Queries that may wait; beyond, requests are refused by 503.", kind=int, least=1, most=1_000_000
    )
    request_timeout_s: float = _option(
        5.0, "Longest time of a request, by 504 cut short.", kind=float, least=0.01, most=3600
    )
    drain_s: float = _option(
        10.0, "Longest time to finish requests after SIGTERM.", kind=float, least=0, most=3600
    )
    keep_alive_s: int = _option(
        30, "Idle time after which a connection is closed.", kind=int, least=1, most=3600
    )
    cors_origin: tuple[str, ...] = _option((), "Origins whose pages may call the API; * for all.", kind=tuple)
    max_sessions: int = _option(
        10_000, "Sessions kept; the least recently used goes first.", kind=int, least=1, most=10_000_000
    )
    session_ttl_s: float = _option(
        3600.0, "Idle time after which a session is forgotten.", kind=float, least=1, most=31_536_000
    )
    max_k: int = _option(1000, "Most items of an answer.", kind=int, least=10, most=10_000)
    max_requests: int = _option(256, "Most requests in one call.", kind=int, least=1, most=10_000)
    log_level: str = _option(
        "info", "Least level of log lines.", kind=str, choices=("debug", "info", "warning", "error")
    )
    log_prompts: bool = _option(False, "Write prompts into the log.", kind=bool)
    otel: bool = _option(False, "Send OpenTelemetry traces; OTEL_* variables say where to.", kind=bool)
    no_page: bool = _option(False, "Do not serve the page at /.", kind=bool)

    def __post_init__(self) -> None:
        for option in OPTIONS:
            option.check(getattr(self, option.name), option.name)


@dataclass(frozen=True, slots=True)
class Option:
    """One row of the table.

    Attributes
    ----------
    name : str
        Name of the field of `Settings`.
    default : object
        Value without flag and variable.
    text : str
        What it is.
    kind : type
        str, int, float, bool, or tuple for several texts.
    least, most : float or None
        Range of a number.
    choices : tuple of str
        What a text may be; empty for anything.
    secret : bool
        Whether the value is never shown.
    """

    name: str
    default: Value
    text: str
    kind: type
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()
    secret: bool = False

    @property
    def flag(self) -> str:
        """The flag of the command line; the name alone for the argument `bundle`."""
        return "BUNDLE" if self.name == "bundle" else "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The variable of the environment."""
        return "DPR_" + self.name.upper()

    @property
    def shown_default(self) -> str:
        """The default, as people read it."""
        if self.kind is bool:
            return "off"
        return "none" if self.default in (None, (), "") else f"{self.default}"

    @property
    def metavar(self) -> str:
        """What stands behind the flag: TEXT, N, or the choices."""
        if self.choices:
            return "|".join(self.choices)
        return {int: "N", float: "NUMBER", bool: ""}.get(self.kind, "TEXT")

    def check(self, value: object, what: str) -> None:
        """Refuse a value of another type or out of range, by QueryError that calls it `what`."""
        if self.kind in (int, float):
            self._check_number(value, what)
        elif self.kind is bool and not isinstance(value, bool):
            raise QueryError(f"{what} must be True or False; got {value!r}")
        elif self.choices and value not in self.choices and not (value is None and self.default is None):
            raise QueryError(f"{what} must be {_listed(self.choices)}; got {value!r}")
        elif self.kind is str and not (isinstance(value, str) or (value is None and self.default is None)):
            raise QueryError(f"{what} must be a text; got {value!r}")
        elif self.kind is tuple:
            self._check_texts(value, what)

    def _check_number(self, value: object, what: str) -> None:
        kinds = (int,) if self.kind is int else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not math.isfinite(value):
            raise QueryError(f"{what} must be {self._range()}; got {value!r}")
        assert self.least is not None
        assert self.most is not None
        if not self.least <= value <= self.most:
            raise QueryError(f"{what} must be {self._range()}; got {value!r}")

    def _check_texts(self, value: object, what: str) -> None:
        if not isinstance(value, tuple) or not all(isinstance(entry, str) and entry for entry in value):
            shown = "" if self.secret else f"; got {value!r}"
            raise QueryError(f"{what} must be texts that are not empty{shown}")

    def _range(self) -> str:
        noun = "an integer" if self.kind is int else "a number"
        return f"{noun} from {self.least} to {self.most}"

    def parse(self, text: str, what: str) -> Value:
        """Return the value that a flag or a variable, called `what`, spells; QueryError if it spells none."""
        value: Value = text
        if self.kind is bool:
            value = _boolean(text, what)
        elif self.kind is tuple:
            value = tuple(entry for part in text.split(",") if (entry := part.strip()))
        elif self.kind in (int, float):
            try:
                value = int(text) if self.kind is int else float(text)
            except ValueError:
                raise QueryError(f"{what} must be {self._range()}; got {text!r}") from None
        self.check(value, what)
        return value


def _boolean(text: str, what: str) -> bool:
    if text.lower() in _YES:
        return True
    if text.lower() in _NO:
        return False
    raise QueryError(f"{what} must be {_listed((*_YES, *_NO))}; got {text!r}")


def _listed(choices: Iterable[str]) -> str:
    shown = [f'"{choice}"' for choice in choices]
    return ", ".join(shown[:-1]) + " or " + shown[-1]


def _row(entry: dataclasses.Field[Any]) -> Option:
    assert entry.default is not dataclasses.MISSING
    return Option(name=entry.name, default=entry.default, **entry.metadata)


OPTIONS: tuple[Option, ...] = tuple(_row(entry) for entry in dataclasses.fields(Settings))


def read_settings(flags: Mapping[str, str | list[str] | bool | None], environ: Mapping[str, str]) -> Settings:
    """Make settings from flags and variables; a flag goes before its variable, and both before the default.

    Parameters
    ----------
    flags : mapping of str to (str, list of str, bool or None)
        Texts by the names of the fields; None, False and an empty list for a flag that was not given.
    environ : mapping of str to str
        The environment. An empty variable counts as not set.

    Returns
    -------
    Settings
        The checked settings.

    Raises
    ------
    QueryError
        Naming the flag or the variable, what is expected and what was got.
    """
    values: dict[str, Any] = {}
    for option in OPTIONS:
        given, variable = flags.get(option.name), environ.get(option.variable, "")
        if isinstance(given, bool) and given:
            values[option.name] = True
        elif isinstance(given, list | str) and given:
            values[option.name] = option.parse(
                given if isinstance(given, str) else ",".join(given), option.flag
            )
        elif variable:
            values[option.name] = option.parse(variable, option.variable)
    if not values.get("bundle"):
        raise QueryError("BUNDLE must be the folder of a bundle, as the argument or in DPR_BUNDLE; got none")
    return Settings(**values)


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Return the names of variables that begin with DPR_ and mean nothing: spelling mistakes, probably."""
    known = {option.variable for option in OPTIONS} | {"DPR_SIMD_LEVEL"}
    return sorted(name for name in environ if name.startswith("DPR_") and name not in known)


def settings_table() -> str:
    """Return the table of docs/serve.md."""
    lines = ["| flag | variable | default | |", "| --- | --- | --- | --- |"]
    for option in OPTIONS:
        choices = f" {_listed(option.choices)}." if option.choices else ""
        lines.append(
            f"| `{option.flag}` | `{option.variable}` | {option.shown_default} | {option.text}{choices} |"
        )
    return "\n".join(lines) + "\n"
