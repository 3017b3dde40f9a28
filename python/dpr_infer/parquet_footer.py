# The footer of a Parquet file: how many rows there are, and where the columns lie. It is not read through pyarrow,
# which ends the process when it is asked about columns whose footer contradicts itself.

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dpr_infer.errors import BundleError
from dpr_infer.parquet_pages import ColumnChunk
from dpr_infer.thrift_compact import CompactReader, Fields, struct_list, whole_number

_MAGIC = b"PAR1"
_LENGTH_BYTES = 4
_LEAST_BYTES = 2 * len(_MAGIC) + _LENGTH_BYTES
_MAX_LIST = 4096
# Numbers of fields, by struct.
_SCHEMA, _ROWS, _ROW_GROUPS = 2, 3, 4
_COLUMNS, _ROWS_OF_GROUP = 1, 3
_METADATA = 3
_CODEC, _VALUES, _STORED_BYTES, _DATA_OFFSET, _DICTIONARY_OFFSET = 4, 5, 7, 9, 11
_CODECS = ("UNCOMPRESSED", "SNAPPY", "GZIP", "LZO", "BROTLI", "LZ4", "ZSTD", "LZ4_RAW")


@dataclass(frozen=True, slots=True)
class Footer:
    """What the footer says.

    Attributes
    ----------
    rows : int
        Rows of the file.
    columns : list of list of ColumnChunk
        For each row group, its columns in the order of the schema's leaves.
    """

    rows: int
    columns: list[list[ColumnChunk]]


def read_footer(file: Any) -> Footer:
    """Read a footer.

    Parameters
    ----------
    file : bytes-like
        The whole file.

    Returns
    -------
    Footer
        What it says.

    Raises
    ------
    BundleError
        If the file has none, it contradicts itself, or it lists more than 4096 columns or row groups. The message is to
        be put behind the file's name.
    """
    end = len(file) - len(_MAGIC) - _LENGTH_BYTES
    if len(file) < _LEAST_BYTES or file[: len(_MAGIC)] != _MAGIC or file[-len(_MAGIC) :] != _MAGIC:
        raise BundleError("must be a valid Parquet file: it does not begin and end as one")
    begin = end - int.from_bytes(file[end : end + _LENGTH_BYTES], "little")
    if begin < len(_MAGIC):
        raise BundleError("must be a valid Parquet file: its footer is longer than it")
    root, stop = CompactReader(file).struct(begin)
    if stop > end:
        raise BundleError("must be a valid Parquet file: its footer does not end where it says")
    schema, groups = struct_list(root, _SCHEMA), struct_list(root, _ROW_GROUPS)
    if max(len(schema), len(groups)) > _MAX_LIST:
        raise BundleError(f"must list at most {_MAX_LIST} columns and row groups; it lists more")
    rows = whole_number(root, _ROWS)
    of_groups = sum(whole_number(group, _ROWS_OF_GROUP) for group in groups)
    if of_groups != rows:
        raise BundleError(f"must have row groups of {rows} rows in all; they have {of_groups}")
    return Footer(rows, [[_chunk(column) for column in struct_list(group, _COLUMNS)] for group in groups])


def _chunk(column: Fields) -> ColumnChunk:
    metadata = column.get(_METADATA)
    if not isinstance(metadata, dict):
        raise BundleError("must have sound structs; one column of a row group has no metadata")
    begin, codec = whole_number(metadata, _DATA_OFFSET), whole_number(metadata, _CODEC)
    if codec >= len(_CODECS):
        raise BundleError(f"must be compressed by one of {', '.join(_CODECS)}; got the number {codec}")
    if _DICTIONARY_OFFSET in metadata:
        dictionary = whole_number(metadata, _DICTIONARY_OFFSET)
        if 0 < dictionary < begin:
            begin = dictionary
    length, values = whole_number(metadata, _STORED_BYTES), whole_number(metadata, _VALUES)
    return ColumnChunk(begin, length, values, _CODECS[codec])
