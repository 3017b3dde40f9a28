# Conversations on a tiny bundle: merged turns get right what the last turn alone, or one long text, cannot.

from __future__ import annotations

from pathlib import Path

import pytest

from dpr_bench.quality import turns_probe as probe
from dpr_bench.quality.frozen_wording import Conversation
from tiny_bundle import write_tiny_bundle


def talk(kind: str, *turns: str, asked: str = "", refused: str = "") -> Conversation:
    return Conversation(kind, turns, frozenset(asked.split()), frozenset(refused.split()))


TALKS = [
    talk("add", "comedy", "no war", asked="Comedy", refused="War"),
    talk("take back", "comedy", "war", "whatever comedy", asked="War"),
    talk("one", "comedy", asked="Comedy"),
    talk("one", "comedy", asked="War"),  # nothing gets this right
    talk("elsewhere", "westerns", asked="Western"),  # the bundle has no such tag
]


def test_conversations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "conversations", lambda: TALKS)
    found = probe.turns_probe(write_tiny_bundle(tmp_path / "bundle"))
    assert (found["conversations"], found["left_out"]) == (4, 1)
    assert found["sizes"] == {"add": 1, "take back": 1, "one": 2}
    assert found["right"]["turns merged"] == {"all": 0.75, "add": 1, "take back": 1, "one": 0.5}
    assert found["right"]["last turn only"] == {"all": 0.25, "add": 0, "take back": 0, "one": 0.5}
    assert found["wrong"] == [{"kind": "one", "turns": ["comedy"], "read": ["+Comedy"]}]
