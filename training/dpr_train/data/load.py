# load_dataset: from a name or a path to a Dataset.

from pathlib import Path

import pooch

from dpr_train.data.amazon_beauty import load_beauty
from dpr_train.data.dataset import Dataset
from dpr_train.data.errors import DataError
from dpr_train.data.mind import load_mind
from dpr_train.data.movielens_1m import load_ml_1m
from dpr_train.data.movielens_100k import load_ml_100k
from dpr_train.data.own_data import find_own_files, load_own_data
from dpr_train.data.synthetic import make_synthetic

_PUBLISHED = {"ml-100k": load_ml_100k, "ml-1m": load_ml_1m, "beauty": load_beauty, "mind": load_mind}
_SYNTHETIC = "synthetic"
DATASET_NAMES = (*_PUBLISHED, _SYNTHETIC)


def load_dataset(
    name_or_path: str | Path | tuple[str | Path, str | Path],
    *,
    cache_dir: str | Path | None = None,
    source: str | Path | None = None,
    min_interactions: int = 5,
) -> Dataset:
    """Load a data set by its name, or the user's own data.

    Parameters
    ----------
    name_or_path : str, Path or tuple of two
        ``"ml-100k"``, ``"ml-1m"``, ``"beauty"``, ``"mind"``, ``"synthetic"`` (the defaults of
        :func:`make_synthetic`); a folder with own data; or the paths of own data's interactions and items. A
        name wins over a folder of that name (``./ml-1m`` names the folder).
    cache_dir : str or Path, optional
        Folder for downloads; by default the user's cache folder.
    source : str or Path, optional
        Where a published data set comes from: a folder or a zip; for MovieLens also ``"pypi"`` (ml-100k
        alone, its default) or ``"official"``. Beauty and MIND need it, as they are not downloaded.
    min_interactions : int, optional
        Users and items with fewer interactions are dropped, again and again until none is left; at least 1.
        The synthetic data set is left as it is.

    Returns
    -------
    Dataset
        Items, sequences and a report.

    Raises
    ------
    DataError
        If the data are not there or break a rule; the message names file, column and line.
    FetchError
        If a download fails. It is a DataError, too.
    """
    if name_or_path in _PUBLISHED:
        cache = Path(cache_dir) if cache_dir is not None else Path(pooch.os_cache("dpr-infer"))
        return _PUBLISHED[str(name_or_path)](source, cache, min_interactions)
    if source is not None:
        raise DataError(
            "source= is for published data sets",
            expected=f"one of {', '.join(_PUBLISHED)}",
            got=repr(name_or_path),
        )
    if name_or_path == _SYNTHETIC:
        return make_synthetic()
    if isinstance(name_or_path, tuple):
        interactions, items = (Path(path) for path in name_or_path)
        return load_own_data(interactions, items, name=interactions.stem, min_interactions=min_interactions)
    folder = Path(name_or_path)
    if not folder.is_dir():
        raise DataError(
            "no such data set",
            expected=f"{', '.join(DATASET_NAMES)}, or a folder with interactions and items",
            got=repr(str(name_or_path)),
        )
    interactions, items = find_own_files(folder)
    return load_own_data(interactions, items, name=folder.resolve().name, min_interactions=min_interactions)
