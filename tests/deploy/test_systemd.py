# The unit: what it promises of the server's own settings, and what systemd makes of it.
from __future__ import annotations

import re
import subprocess

import pytest

from dpr_infer.serve.settings import Settings, read_settings

WORST_EXPOSURE = 15  # tenths; without any of its confinement a unit has 96


@pytest.fixture(scope="module")
def unit(deploy) -> list[tuple[str, str]]:
    """Keys and values of the unit, in order; a key may come more than once."""
    lines = (deploy / "dpr-serve.service").read_text(encoding="utf-8").splitlines()
    return [tuple(line.split("=", 1)) for line in lines if re.match(r"\w+=", line)]


def value_of(unit, key: str) -> str:
    (value,) = [value for name, value in unit if name == key]
    return value


def environment_of(unit, instance: str) -> dict[str, str]:
    settings = [value.replace("%i", instance) for name, value in unit if name == "Environment"]
    return dict(setting.split("=", 1) for setting in settings)


@pytest.mark.parametrize(("instance", "port"), [("", 8000), ("8001", 8001)])
def test_the_port_is_the_instances(instance, port, unit):
    settings = read_settings({}, environment_of(unit, instance))
    assert (settings.port, settings.bundle) == (port, "/srv/dpr/bundles/current")


def test_histories_lie_in_the_folder_that_it_may_write(unit):
    users = read_settings({}, environment_of(unit, "")).users
    assert users.startswith(f"/var/lib/{value_of(unit, 'StateDirectory')}/")


def test_the_server_drains_before_it_is_killed(unit):
    assert int(value_of(unit, "TimeoutStopSec")) > Settings(bundle="x").drain_s


def test_without_keys_it_does_not_start(unit):
    assert not value_of(unit, "EnvironmentFile").startswith("-")


@pytest.fixture
def installed_unit(deploy, tmp_path):
    """The unit under both its names, with a program that is here."""
    text = (deploy / "dpr-serve.service").read_text(encoding="utf-8")
    text = re.sub(r"^ExecStart=.*$", "ExecStart=/bin/true", text, flags=re.M)
    paths = [tmp_path / "dpr-serve.service", tmp_path / "dpr-serve@8001.service"]
    for path in paths:
        path.write_text(text, encoding="utf-8")
    return paths


@pytest.mark.debian("systemd", "systemd-analyze")
def test_systemd_has_nothing_to_say(installed_unit):
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, installed_unit)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.debian("systemd", "systemd-analyze")
def test_systemd_finds_it_confined(installed_unit):
    command = ["systemd-analyze", "security", "--offline=yes", f"--threshold={WORST_EXPOSURE}", "--no-pager"]
    done = subprocess.run([*command, str(installed_unit[0])], capture_output=True, text=True)
    assert "Overall exposure level" in done.stdout
    assert done.returncode == 0, done.stdout[-400:]
