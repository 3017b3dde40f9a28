# The dashboard: a model that Grafana can lay out, whose queries follow its variables.
from __future__ import annotations

import itertools
import json
import re
import subprocess

import pytest
import yaml


@pytest.fixture(scope="module")
def dashboard(deploy):
    return json.loads((deploy / "grafana" / "dpr-serve.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def panels(dashboard):
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


@pytest.fixture(scope="module")
def queries(panels):
    return [(panel["title"], target["expr"]) for panel in panels for target in panel["targets"]]


def test_panels_do_not_overlap(dashboard):
    cells = [
        (x, y)
        for panel in dashboard["panels"]
        for at in [panel["gridPos"]]
        for x, y in itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"]))
    ]
    assert max(x for x, _ in cells) == 23
    assert len(cells) == len(set(cells))


def test_ids_are_unique(dashboard, panels):
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids)) > 20
    for panel in panels:
        references = [target["refId"] for target in panel["targets"]]
        assert len(references) == len(set(references))


def test_panels_say_what_they_show(panels):
    for panel in panels:
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]


def test_all_ask_the_chosen_source(dashboard, panels):
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    sources = [place["datasource"] for panel in panels for place in (panel, *panel["targets"])]
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(dashboard))) - {"__rate_interval"}
    assert used == variables


def test_queries_follow_the_variables(queries):
    for title, query in queries:
        selected = re.findall(r'\{job="\$job",instance=~"\$instance"', query)
        assert len(selected) == len(re.findall(r"\b(?:dpr|process)_\w+|\bup\b", query)), title


def test_rates_follow_the_scrape_interval(queries):
    ranges = {window for _, query in queries for window in re.findall(r"\[([^\]]+)\]", query)}
    assert ranges == {"$__rate_interval"}


@pytest.mark.debian("prometheus", "promtool")
def test_prometheus_can_read_every_query(queries, tmp_path):
    rules = [
        {"record": f"query:{number}", "expr": query.replace("$__rate_interval", "1m")}
        for number, (_, query) in enumerate(queries)
    ]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")
    done = subprocess.run(["promtool", "check", "rules", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
