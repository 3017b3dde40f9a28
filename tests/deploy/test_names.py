# Names in deploy/ and in the guide are those that the server has: variables, flags, metrics, labels, paths.
from __future__ import annotations

import re

import pytest

from dpr_infer.serve.settings import OPTIONS

VARIABLES = {option.variable for option in OPTIONS} | {"DPR_SIMD_LEVEL"}
FLAGS = {option.flag for option in OPTIONS} | {"--help"}
# Names in nginx.conf that are its own.
OF_NGINX = {"dpr_serve", "dpr_affinity", "dpr_tls"}
METRIC = re.compile(r"(?<![:\w])(?:dpr|process)_\w+")
PATH = re.compile(r"(?<![\w.$^])(/(?:v1|v2)(?:/[\w{}-]+)*|/metrics|/openapi\.json)(?![\w/^])")
ADDED_BY_PROMETHEUS = {"job", "instance"}


def test_variables_exist(operator_texts):
    named = {
        (path, name)
        for path, text in operator_texts.items()
        for name in re.findall(r"\bDPR_[A-Z][A-Z_]*[A-Z]\b", text)
    }
    assert len(named) > 20
    assert {(path, name) for path, name in named if name not in VARIABLES} == set()


def test_flags_exist(operator_texts):
    """In commands of dpr-serve, and in the guide between backticks."""
    commands = [
        line
        for text in operator_texts.values()
        for line in re.findall(r"^ *(?:\S*/)?dpr-serve((?: +[^ \n#]+)+)", text, re.M)
    ]
    ticked = re.findall(r"`(--[a-z][a-z-]*)", operator_texts["docs/deployment.md"])
    flags = {flag for line in commands for flag in re.findall(r"(?<= )--[a-z][a-z-]*", line)} | set(ticked)
    assert flags
    assert flags - FLAGS == set()


def metrics_of(text: str) -> set[str]:
    return set(METRIC.findall(text)) - OF_NGINX - {"dpr_infer"}


def test_metrics_exist(operator_texts, series):
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in series}
    named = {(path, name) for path, text in operator_texts.items() for name in metrics_of(text)}
    assert len({name for _, name in named}) > 20
    assert {(path, name) for path, name in named if name not in series and name not in families} == set()


def test_queries_name_samples_not_families(operator_texts, series):
    """`rate(dpr_request_seconds[5m])` would give nothing: a histogram has no sample of its own name."""
    queried = {
        (path, name)
        for path, text in operator_texts.items()
        for name in re.findall(r"(?<![:\w])((?:dpr|process)_\w+)(?=[{\[])", text)
    }
    assert len(queried) > 20
    assert {(path, name) for path, name in queried if name not in series} == set()


def selectors(text: str) -> list[tuple[str, str, str, str]]:
    """Metric, label, operator and value of each matcher; quotes may be escaped, as in JSON."""
    found = []
    for metric, inside in re.findall(
        r"(?<![:\w])((?:dpr|process)_\w+)\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}", text
    ):
        for label, operator, value in re.findall(r'(\w+)(=~|!~|!=|=)\\?"([^"\\]*)\\?"', inside):
            found.append((metric, label, operator, value))
    return found


def test_the_reader_of_selectors_misses_none():
    text = r'sum(dpr_x{a="1",route=~"/v1/.+|/v2"}) / dpr_y_total{route=\"/v1/items/{item_id}\"} + dpr_z'
    assert selectors(text) == [
        ("dpr_x", "a", "=", "1"),
        ("dpr_x", "route", "=~", "/v1/.+|/v2"),
        ("dpr_y_total", "route", "=", "/v1/items/{item_id}"),
    ]


def test_labels_and_their_values_exist(operator_texts, series):
    matchers = [(path, *matcher) for path, text in operator_texts.items() for matcher in selectors(text)]
    assert len(matchers) > 50
    wrong = []
    for path, metric, label, operator, value in matchers:
        if label in ADDED_BY_PROMETHEUS or "$" in value or label in ("name", "version"):
            continue
        known = series[metric].get(label, set())
        parts = value.split("|") if operator in ("=~", "!~") else [value]
        for part in parts:
            exists = any(re.fullmatch(part, one) for one in known) if "~" in operator else part in known
            if not exists:
                wrong.append((path, metric, label, part))
    assert wrong == []


def test_recorded_names_are_recorded(operator_texts):
    used = {
        name for text in operator_texts.values() for name in re.findall(r"\bjob(?:_route)?:\w+:\w+", text)
    }
    recorded = set(re.findall(r"- record: (\S+)", operator_texts["deploy/prometheus/rules.yml"]))
    assert used
    assert used == recorded


@pytest.mark.parametrize(
    ("path", "least"),
    [("deploy/nginx.conf", 2), ("deploy/kserve/serving-runtime.yaml", 3), ("docs/deployment.md", 6)],
)
def test_paths_exist(path, least, operator_texts, is_route):
    found = set(PATH.findall(operator_texts[path]))
    assert len(found) >= least
    assert {one for one in found if not is_route(one) and not is_route(one + "/reload")} == set()
