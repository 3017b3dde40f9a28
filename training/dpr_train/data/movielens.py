# What both MovieLens data sets share: their licence, and from two raw tables to a Dataset.

from dpr_train.data.assemble import Origin, assemble
from dpr_train.data.checks import check_interactions, check_items
from dpr_train.data.dataset import Dataset
from dpr_train.data.source_files import SourceFiles
from dpr_train.data.table import Table

LICENCE = (
    "MovieLens (GroupLens, University of Minnesota): for research; no redistribution, and no commercial use "
    "without permission. Cite F. M. Harper and J. A. Konstan, The MovieLens Datasets, ACM TiiS 5(4), 2015, "
    "doi:10.1145/2827872"
)


def build(
    name: str,
    interactions: Table,
    items: Table,
    *,
    sha256: str,
    min_interactions: int,
    licence: str = LICENCE,
    notes: tuple[str, ...] = (),
) -> Dataset:
    """Check the two tables of a MovieLens data set and assemble it.

    Parameters
    ----------
    name : str
        Name of the data set.
    interactions, items : Table
        In the columns of :func:`check_interactions` and :func:`check_items`.
    sha256 : str
        Checksum of the source.
    min_interactions : int
        The k of the k-core.
    licence : str, optional
        What may be done with the data.
    notes : tuple of str, optional
        For the report.

    Returns
    -------
    Dataset
        Not redistributable.

    Raises
    ------
    DataError
        If a table breaks a rule of the checks, or nothing is left after the k-core.
    """
    item_table = check_items(items)
    origin = Origin(name=name, sha256=sha256, licence=licence, redistributable=False, notes=notes)
    return assemble(
        item_table, check_interactions(interactions, item_table), origin, min_interactions=min_interactions
    )


def has_all(files: SourceFiles, names: tuple[str, ...]) -> bool:
    """Say whether all files of these names are there.

    Parameters
    ----------
    files : SourceFiles
        A folder or zip.
    names : tuple of str
        Plain names.

    Returns
    -------
    bool
        True if none is missing.
    """
    return all(name in files for name in names)
