# What the columns of a Parquet file will take when they are decoded, read off its pages' headers. A file of a few KB
# may decode to as much as its maker likes, and decoders take its word for it.

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dpr_infer.errors import BundleError
from dpr_infer.thrift_compact import CompactReader, whole_number

_DATA_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_V2 = 0, 2, 3
_OF_PAGE = {
    _DATA_PAGE: 5,
    _DICTIONARY_PAGE: 7,
    _DATA_PAGE_V2: 8,
}  # the field of a header that is about its kind
# Encodings whose values are as long as their bytes say, or places in a dictionary of such values. An older name of the
# latter stands for the former on the page of the dictionary itself.
_PLAIN, _OLD_PLAIN, _DICTIONARY_ENCODINGS = 0, 2, (2, 8)
_LENGTH_BYTES = 4
# What pyarrow calls them. LZ4 of the older kind, with a frame of its own, it does not decompress alone.
_CODECS = {"SNAPPY": "snappy", "GZIP": "gzip", "BROTLI": "brotli", "ZSTD": "zstd", "LZ4_RAW": "lz4_raw"}
# Writers stop a dictionary at 1 MiB, or at a few.
_MAX_DICTIONARY_BYTES = 2**24


@dataclass(frozen=True, slots=True)
class ColumnChunk:
    """Where one column of one row group lies, as the footer says.

    Attributes
    ----------
    begin, length : int
        Its bytes in the file.
    values : int
        How many values it has, nulls and empty lists included.
    codec : str
        How its pages are compressed, in the footer's spelling.
    """

    begin: int
    length: int
    values: int
    codec: str


def text_bytes(file: Any, chunk: ColumnChunk, most: int) -> int:
    """Go through the pages of a column of strings; return how many bytes it can have at most when it is decoded.

    Headers are read, and the dictionary, if there is one: each of the values that are places in it may be its longest.

    Parameters
    ----------
    file : bytes-like
        The whole file.
    chunk : ColumnChunk
        Where to look.
    most : int
        The largest answer that will do; beyond it, nothing is decompressed.

    Returns
    -------
    int
        At least the sum of the values' lengths, and of the pages' sizes.

    Raises
    ------
    BundleError
        If the pages do not lie there, do not have the values promised, are too large, or are encoded otherwise than
        plainly or by a dictionary. The message is to be put behind the column's name.
    """
    end = chunk.begin + chunk.length
    if not 0 <= chunk.begin <= end <= len(file):
        raise BundleError(
            f"must lie within the file; it is said to begin at {chunk.begin}, {chunk.length} bytes long"
        )
    found = total = longest = 0
    for page in _pages(file, chunk.begin, end):
        total += page.bytes
        if total > most:
            raise BundleError(f"must have at most {most} bytes; its pages have {total} or more")
        if page.kind == _DICTIONARY_PAGE:
            longest = max(longest, _longest(file, page, chunk.codec))
            continue
        found += page.values
        if page.encoding in _DICTIONARY_ENCODINGS:
            total += page.values * longest
        elif page.encoding != _PLAIN:
            raise BundleError(
                f"must be encoded plainly or by a dictionary; a page has the encoding {page.encoding}"
            )
    if found != chunk.values:
        raise BundleError(
            f"must have the {chunk.values} values that the footer promises; its pages have {found}"
        )
    return total


@dataclass(frozen=True, slots=True)
class _Page:
    kind: int
    encoding: int
    values: int
    bytes: int  # not compressed
    begin: int
    end: int


def _pages(file: Any, at: int, end: int) -> Iterator[_Page]:
    reader = CompactReader(file)
    while at < end:
        header, at = reader.struct(at)
        kind, size, stored = (whole_number(header, field) for field in (1, 2, 3))
        if at + stored > end:
            raise BundleError("must have pages that lie within it; one does not")
        if kind in _OF_PAGE:
            of_page = header.get(_OF_PAGE[kind])
            if not isinstance(of_page, dict):
                raise BundleError("must have pages with whole headers; one lacks a part")
            encoding = whole_number(of_page, 4 if kind == _DATA_PAGE_V2 else 2)
            yield _Page(kind, encoding, whole_number(of_page, 1), size, at, at + stored)
        at += stored


def _longest(file: Any, page: _Page, codec: str) -> int:
    """Return the length of the longest value of a dictionary."""
    import pyarrow as pa

    if page.bytes > _MAX_DICTIONARY_BYTES or page.encoding not in (_PLAIN, _OLD_PLAIN):
        raise BundleError(
            f"must have plain dictionaries of at most {_MAX_DICTIONARY_BYTES} bytes; "
            f"one has {page.bytes} with the encoding {page.encoding}"
        )
    content = bytes(file[page.begin : page.end])
    if codec != "UNCOMPRESSED":
        try:
            content = pa.decompress(content, page.bytes, _CODECS[codec], asbytes=True)
        except KeyError:
            raise BundleError(
                f"must be compressed by one of {', '.join(_CODECS)} or not at all; got {codec}"
            ) from None
        except (pa.ArrowException, OSError, ValueError) as error:
            raise BundleError(f"must have a dictionary that can be decompressed: {error}") from None
    at = longest = 0
    for _ in range(page.values):
        length = int.from_bytes(content[at : at + _LENGTH_BYTES], "little")
        at += _LENGTH_BYTES + length
        longest = max(longest, length)
        if at > len(content):
            raise BundleError(
                f"must have the {page.values} values in a dictionary that it says; it ends before"
            )
    return longest
