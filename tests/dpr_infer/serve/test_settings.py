# Settings: one table, of which flags, variables, checks and the documentation are made.

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dpr_infer.cli import serve_command
from dpr_infer.errors import QueryError
from dpr_infer.serve.settings import (
    OPTIONS,
    Option,
    Settings,
    read_settings,
    settings_table,
    unknown_variables,
)

FLAGS = [option for option in OPTIONS if option.name != "bundle"]


def another_value(option: Option) -> str:
    """A text that spells another value than the default."""
    if option.choices:
        return next(choice for choice in option.choices if choice != option.default)
    if option.kind is int:
        return str(int(option.least or 0) + 7)
    return {bool: "yes", float: "7.5", tuple: "one,two"}.get(option.kind, "something")


def test_every_field_is_an_option():
    assert [option.name for option in OPTIONS] == [entry.name for entry in dataclasses.fields(Settings)]


@pytest.mark.parametrize("option", FLAGS, ids=lambda option: option.name)
def test_flag_and_variable_say_the_same(option: Option, monkeypatch: pytest.MonkeyPatch):
    started: list[Settings] = []
    monkeypatch.setattr("dpr_infer.serve.lifecycle.run", lambda settings: started.append(settings) or 0)
    text = another_value(option)
    flag = [option.flag] if option.kind is bool else [option.flag, text]
    runner = CliRunner()
    assert runner.invoke(serve_command.app, ["some", *flag]).exit_code == 0
    assert runner.invoke(serve_command.app, ["some"], env={option.variable: text}).exit_code == 0
    assert runner.invoke(serve_command.app, ["some"]).exit_code == 0
    by_flag, by_variable, default = started
    assert by_flag == by_variable == dataclasses.replace(default, **{option.name: option.parse(text, "")})
    assert getattr(default, option.name) == option.default != getattr(by_flag, option.name)


def test_flags_and_variables_are_one_to_one():
    help_text = CliRunner().invoke(serve_command.app, ["--help"], terminal_width=400).output
    words = " ".join(help_text.split())
    for option in FLAGS:
        assert f"[env: {option.variable}; default: {option.shown_default}]" in words
    assert set(re.findall(r"--[a-z][a-z-]*", words)) - {"--help"} == {option.flag for option in FLAGS}
    assert set(re.findall(r"\bDPR_[A-Z_]+", words)) == {option.variable for option in OPTIONS}


def test_a_flag_goes_before_its_variable():
    environ = {"DPR_PORT": "1", "DPR_API_KEY": "a, b ,", "DPR_BUNDLE": "other"}
    settings = read_settings({"bundle": "some", "port": "2", "api_key": []}, environ)
    assert (settings.bundle, settings.port, settings.api_key) == ("some", 2, ("a", "b"))
    assert read_settings({"api_key": ["c", "d,e"]}, environ).api_key == ("c", "d", "e")


def test_a_bundle_is_needed():
    with pytest.raises(QueryError, match="BUNDLE must be the folder of a bundle"):
        read_settings({}, {"DPR_BUNDLE": ""})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("port", "http", "--port must be an integer from 0 to 65535; got 'http'"),
        ("port", "65536", "--port must be an integer from 0 to 65535; got 65536"),
        ("port", "-1", "must be an integer"),
        ("batch_wait_ms", "nan", "--batch-wait-ms must be a number from 0 to 1000; got nan"),
        ("request_timeout_s", "inf", "must be a number from 0.01 to 3600"),
        ("index", "flat", '--index must be "exact" or "hnsw"; got \'flat\''),
        ("log_level", "INFO", '"debug", "info", "warning" or "error"'),
    ],
)
def test_a_wrong_value_names_the_flag_or_the_variable(name: str, text: str, message: str):
    with pytest.raises(QueryError, match=re.escape(message)):
        read_settings({"bundle": "some", name: text}, {})
    [option] = [option for option in OPTIONS if option.name == name]
    with pytest.raises(QueryError, match=option.variable):
        read_settings({"bundle": "some"}, {option.variable: text})


@pytest.mark.parametrize("text", ["0", "no", "FALSE", "off"])
def test_a_variable_can_turn_a_switch_off(text: str):
    assert not read_settings({"bundle": "b"}, {"DPR_LOG_PROMPTS": text}).log_prompts


def test_a_switch_takes_no_other_word():
    with pytest.raises(QueryError, match='DPR_LOG_PROMPTS must be "1", "true"'):
        read_settings({"bundle": "b"}, {"DPR_LOG_PROMPTS": "perhaps"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": "80"},
        {"port": True},
        {"log_prompts": 1},
        {"api_key": "key"},
        {"api_key": ("",)},
        {"users": None},
    ],
)
def test_values_of_another_type_are_refused(wrong: dict[str, object]):
    with pytest.raises(QueryError, match=next(iter(wrong))):
        Settings(bundle="b", **wrong)  # type: ignore[arg-type]


def test_keys_are_never_shown():
    shown = repr(Settings(bundle="b", api_key=("secret",), admin_key="secret"))
    assert "secret" not in shown
    with pytest.raises(QueryError) as caught:
        Settings(bundle="b", api_key=("secret", ""))
    assert "secret" not in str(caught.value)


def test_spelling_mistakes_of_variables_are_found():
    assert unknown_variables({"DPR_PROT": "1", "DPR_PORT": "1", "DPR_SIMD_LEVEL": "x", "PATH": ""}) == [
        "DPR_PROT"
    ]


def test_the_guide_has_the_table(root: Path):
    assert settings_table() in (root / "docs" / "serve.md").read_text(encoding="utf-8")
