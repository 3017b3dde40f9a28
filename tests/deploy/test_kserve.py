# The KServe manifests: that they fit each other, the image and the server.
from __future__ import annotations

import re

import pytest
import yaml

from dpr_infer.serve.settings import read_settings


@pytest.fixture(scope="module")
def runtime(deploy):
    return yaml.safe_load((deploy / "kserve" / "serving-runtime.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def service_and_budget(deploy):
    return list(
        yaml.safe_load_all((deploy / "kserve" / "inference-service.yaml").read_text(encoding="utf-8"))
    )


@pytest.fixture(scope="module")
def container(runtime):
    (one,) = runtime["spec"]["containers"]
    return one


@pytest.fixture(scope="module")
def predictor(service_and_budget):
    return service_and_budget[0]["spec"]["predictor"]


def settings_of(container):
    variables = {entry["name"]: entry["value"] for entry in container["env"]}
    return read_settings({"bundle": container["args"][0]}, variables)


def test_one_port_everywhere(runtime, container, service_and_budget):
    ports = {probe["httpGet"]["port"] for name, probe in container.items() if name.endswith("Probe")}
    ports |= {port["containerPort"] for port in container["ports"]}
    ports |= {int(runtime["spec"]["annotations"]["prometheus.kserve.io/port"])}
    ports |= {int(service_and_budget[0]["metadata"]["annotations"]["prometheus.io/port"])}
    assert ports == {settings_of(container).port}


def test_probes_ask_paths_of_the_server(container, is_route):
    paths = {name: probe["httpGet"]["path"] for name, probe in container.items() if name.endswith("Probe")}
    assert paths == {
        "startupProbe": "/v2/health/live",
        "readinessProbe": "/v2/health/ready",
        "livenessProbe": "/v2/health/live",
    }
    assert all(map(is_route, paths.values()))


def test_there_is_time_to_drain(container, predictor):
    _, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    assert predictor["terminationGracePeriodSeconds"] > int(seconds) + settings_of(container).drain_s


def test_the_service_finds_its_runtime(runtime, predictor):
    assert predictor["model"]["runtime"] == runtime["metadata"]["name"]
    assert predictor["model"]["protocolVersion"] in runtime["spec"]["protocolVersions"]
    formats = {entry["name"] for entry in runtime["spec"]["supportedModelFormats"]}
    assert predictor["model"]["modelFormat"]["name"] in formats


def test_secrets_are_not_in_the_manifest(predictor, container):
    for entry in predictor["model"]["env"]:
        assert set(entry) == {"name", "valueFrom"}
    assert "DPR_API_KEY" not in {entry["name"] for entry in container["env"]}
    assert predictor["enableServiceLinks"] is False  # they would be variables that begin with DPR_


def test_it_is_the_images_user(container, deploy):
    (user, group) = re.findall(r"^USER (\d+):(\d+)$", (deploy / "Containerfile").read_text(), re.M)[0]
    confined = container["securityContext"]
    assert (confined["runAsUser"], confined["runAsGroup"]) == (int(user), int(group))
    assert confined["runAsNonRoot"]
    assert confined["readOnlyRootFilesystem"]


def test_the_budget_is_the_services(service_and_budget):
    service, budget = service_and_budget
    labels = budget["spec"]["selector"]["matchLabels"]
    assert labels == {"serving.kserve.io/inferenceservice": service["metadata"]["name"]}
    assert budget["spec"]["minAvailable"] < service["spec"]["predictor"]["minReplicas"]
