# Files of a data set that lies in a folder or in a zip, read by plain name; a zip is never unpacked.

import hashlib
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from dpr_train.data.errors import DataError
from dpr_train.data.wheel import file_sha256

_DOWNLOADS = ("pypi", "official")  # sources of the data sets that are downloaded


class SourceFiles:
    """The files of a folder, or of a zip whatever folders it has inside.

    Parameters
    ----------
    path : str or Path
        A folder, a zip or a wheel.

    Raises
    ------
    DataError
        If there is no such folder or file, or the file is no zip.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._members: dict[str, list[str]] = {}
        if self.path.is_dir():
            for entry in self.path.iterdir():
                if entry.is_file():
                    self._members[entry.name] = [entry.name]
        elif self.path.is_file():
            self._list_zip()
        else:
            raise DataError("no such folder or file", file=str(path), expected="a folder or a zip")

    def __contains__(self, name: str) -> bool:
        return name in self._members

    @property
    def names(self) -> tuple[str, ...]:
        """Plain names of all files, sorted."""
        return tuple(sorted(self._members))

    def label(self, name: str) -> str:
        """Return how messages name a file: its path, or the zip's path and the member."""
        return str(self.path / name) if self.path.is_dir() else f"{self.path}:{name}"

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Parameters
        ----------
        name : str
            Plain name, without folders.

        Returns
        -------
        bytes
            The whole content.

        Raises
        ------
        DataError
            If there is no such file, the zip has several of that name, or it is damaged.
        """
        members = self._members.get(name, [])
        if len(members) != 1:
            raise DataError(
                "file not found" if not members else "several files of one name",
                file=self.label(name),
                expected=f"one {name}",
                got=str(len(members)),
            )
        if self.path.is_dir():
            return (self.path / name).read_bytes()
        try:
            with zipfile.ZipFile(self.path) as archive:
                return archive.read(members[0])
        except (zipfile.BadZipFile, RuntimeError) as error:
            raise DataError("damaged zip", file=self.label(name), got=str(error)) from error

    def sha256(self, names: Sequence[str]) -> str:
        """Return the checksum of the source.

        Parameters
        ----------
        names : sequence of str
            Files that were read; they matter for a folder only.

        Returns
        -------
        str
            Of a zip, its sha256; of a folder, :func:`combined_sha256` of the files.
        """
        if self.path.is_file():
            return file_sha256(self.path)
        return combined_sha256([self.path / name for name in names])

    def _list_zip(self) -> None:
        """Note the zip's members under their plain names."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                for member in archive.namelist():
                    self._members.setdefault(PurePosixPath(member).name, []).append(member)
        except zipfile.BadZipFile as error:
            raise DataError(
                "not a zip", file=str(self.path), expected="a folder or a zip", got=str(error)
            ) from error


def local_source(source: str | Path | None, what: str, *, expected: str) -> Path:
    """Return the path of a data set that is not downloaded.

    Parameters
    ----------
    source : str or Path or None
        A folder or a file; names of places to download from are none.
    what, expected : str
        Of the error.

    Returns
    -------
    Path
        ``source``.

    Raises
    ------
    DataError
        If no path is given.
    """
    if source is None or str(source) in _DOWNLOADS:
        raise DataError(what, expected=f"source=, {expected}", got=repr(source))
    return Path(source)


def combined_sha256(paths: Sequence[Path]) -> str:
    """Return one checksum for several files.

    Parameters
    ----------
    paths : sequence of Path
        The files.

    Returns
    -------
    str
        The sha256 of one line ``<sha256>  <name>`` a file, sorted by name, each ended by a line feed.
    """
    lines = [f"{file_sha256(path)}  {path.name}\n" for path in sorted(paths, key=lambda path: path.name)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
