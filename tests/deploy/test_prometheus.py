# Scraping, recording, alerting: readable for Prometheus, and the alerts go off when they should and not otherwise.
from __future__ import annotations

import re
import shutil
import subprocess

import pytest
import yaml


@pytest.fixture(scope="module")
def groups(deploy):
    rules = yaml.safe_load((deploy / "prometheus" / "rules.yml").read_text(encoding="utf-8"))
    return {group["name"]: group["rules"] for group in rules["groups"]}


@pytest.fixture(scope="module")
def alerts(groups):
    return [rule for rule in groups["dpr-serve-alerts"] if "alert" in rule]


def test_the_configuration_reads_the_rules_and_scrapes_a_route(deploy, is_route):
    config = yaml.safe_load((deploy / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    assert [(deploy / "prometheus" / name).is_file() for name in config["rule_files"]] == [True]
    (job,) = config["scrape_configs"]
    assert job["job_name"] == "dpr-serve"  # the rules and the test below name it
    assert is_route(job["metrics_path"])


def test_alerts_say_how_bad_it_is_and_what_to_do(alerts):
    assert len(alerts) > 8
    assert len({alert["alert"] for alert in alerts}) == len(alerts)
    for alert in alerts:
        assert alert["labels"]["severity"] in ("critical", "warning")
        assert {"summary", "description"} == set(alert["annotations"])


def test_every_alert_has_a_test_in_which_it_goes_off(alerts, root):
    text = (root / "tests" / "deploy" / "rules_test.yml").read_text(encoding="utf-8")
    tested = {
        re.search(r'alertname="(\w+)"', sample["labels"])[1]
        for test in yaml.safe_load(text)["tests"]
        for case in test["promql_expr_test"]
        for sample in case["exp_samples"]
        if 'alertstate="firing"' in sample["labels"]
    }
    assert tested == {alert["alert"] for alert in alerts}


def promtool(*arguments: str, cwd=None) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.debian("prometheus", "promtool")
def test_prometheus_takes_configuration_and_rules(deploy):
    promtool("check", "config", str(deploy / "prometheus" / "prometheus.yml"))


@pytest.mark.debian("prometheus", "promtool")
def test_alerts_go_off_when_they_should(deploy, root, tmp_path):
    shutil.copy(deploy / "prometheus" / "rules.yml", tmp_path)
    shutil.copy(root / "tests" / "deploy" / "rules_test.yml", tmp_path)
    promtool("test", "rules", "rules_test.yml", cwd=tmp_path)


@pytest.mark.debian("prometheus", "promtool")
def test_the_metrics_are_well_named():
    """promtool's linter of the text that /metrics gives."""
    from dpr_infer.serve.metrics import Metrics

    text, _ = Metrics(["/v1/recommend"]).render()
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
