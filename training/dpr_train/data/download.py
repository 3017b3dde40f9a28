# Archives at an official address, downloaded once and checked by pooch.

from pathlib import Path

import pooch

from dpr_train.data.errors import FetchError


def download(url: str, md5: str, cache_dir: str | Path) -> Path:
    """Return the path of an official archive in the cache, downloading it if it is not there.

    Parameters
    ----------
    url : str
        Address of the archive; its last part becomes the file's name.
    md5 : str
        The checksum that the publisher gives, 32 hexadecimal digits.
    cache_dir : str or Path
        Folder for downloads; created if missing.

    Returns
    -------
    Path
        The archive, inside ``cache_dir``.

    Raises
    ------
    FetchError
        If it cannot be downloaded or its checksum differs.
    """
    name = url.rsplit("/", 1)[-1]
    try:
        return Path(pooch.retrieve(url, known_hash=f"md5:{md5}", fname=name, path=str(cache_dir)))
    # The exceptions of requests are OSErrors; pooch raises ValueError for a wrong checksum.
    except (OSError, ValueError) as error:
        raise FetchError(
            f"cannot download {url} (source= takes the path of a local copy)",
            file=str(Path(cache_dir) / name),
            expected=f"an archive with md5 {md5}",
            got=str(error),
        ) from error
