# An index.hnsw that was forged together with its checksum: hnswlib would follow its numbers anywhere.

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tiny_bundle
from dpr_infer import BundleError, Recommender
from dpr_infer.hnsw_file import check_hnsw_file

N, DIM, M = 200, 16, 2
HEADER = 96
DATA = 4 * (1 + 2 * M)
ELEMENT = DATA + 4 * DIM + 8
UPPER = HEADER + N * ELEMENT
LEVEL = 4 * (1 + M)


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return tiny_bundle.write_tiny_bundle(tmp_path_factory.mktemp("hnsw") / "bundle", items=N, hnsw=True)


@pytest.fixture(scope="module")
def content(path) -> bytes:
    return (path / "index.hnsw").read_bytes()


@pytest.fixture(scope="module")
def vectors(path) -> np.ndarray:
    return Recommender(path)._bundle.catalogue.vectors


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "index.hnsw"


def upper_levels(content: bytes) -> dict[int, tuple[int, int]]:
    """Where the upper links of each item that has some begin, and how many levels they are."""
    found, at = {}, UPPER
    for item in range(N):
        (size,) = struct.unpack_from("<I", content, at)
        if size:
            found[item] = (at + 4, size // LEVEL)
        at += 4 + size
    return found


def patched(content: bytes, at: int, value: int, form: str = "<I") -> bytes:
    changed = bytearray(content)
    struct.pack_into(form, changed, at, value)
    return bytes(changed)


def test_the_layout_is_as_these_tests_think(content, vectors, file):
    file.write_bytes(content)
    check_hnsw_file(file, vectors, M)
    levels = upper_levels(content)
    assert levels
    assert max(levels.values(), key=lambda entry: entry[1])[1] == struct.unpack_from("<i", content, 48)[0]


def on_top(content):
    (entry,) = struct.unpack_from("<I", content, 52)
    return upper_levels(content)[entry]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: patched(c, HEADER, 2 * M + 1), "at most 4 links an item and no deleted ones"),
        (lambda c: patched(c, HEADER, 1 << 16), "at most 4 links an item and no deleted ones"),
        (lambda c: patched(c, HEADER + 4, N), "link to items 0 to 199; one link leads elsewhere"),
        (lambda c: patched(c, HEADER + 4, 2**32 - 1), "link to items 0 to 199"),
        (lambda c: patched(c, HEADER + DATA, 0x7FC00000), "hold the vectors of the catalogue"),
        (lambda c: patched(c, on_top(c)[0], M + 1), "at most 2 links an item on its upper levels; one has 3"),
        (lambda c: patched(patched(c, on_top(c)[0], 1), on_top(c)[0] + 4, N), "same level"),
        (
            lambda c: patched(
                patched(c, on_top(c)[0], 1),
                on_top(c)[0] + 4,
                next(i for i in range(N) if i not in upper_levels(c)),
            ),
            "link to items of the same level; one link on level 1 leads elsewhere",
        ),
        (lambda c: patched(c, UPPER, 4), "12 bytes of links an item and level|be whole|same level"),
        (lambda c: patched(c, UPPER, 2**32 - 1), "be whole|12 bytes"),
        (lambda c: c[:-1], "be whole|end with its last link"),
        (lambda c: c + b"\0", "end with its last link"),
        (lambda c: c[: UPPER + 2], "be whole; it ends among the links"),
        (lambda c: patched(c, 52, next(i for i in range(N) if i not in upper_levels(c))), "enter at an item"),
        (lambda c: patched(c, 48, 0, "<i"), "enter at an item of its highest level"),
        (lambda c: patched(c, 48, 60, "<i"), "enter at an item of its highest level"),
        (lambda c: patched(c, 48, -1, "<i"), "its header says"),
        (lambda c: patched(c, 48, 65, "<i"), "its header says"),
        (lambda c: b"", "be an HNSW index: cannot mmap an empty file"),
    ],
)
def test_what_hnswlib_would_follow_is_refused(path, content, tmp_path, change, message):
    folder = Path(shutil.copytree(path, tmp_path / "forged"))
    (folder / "index.hnsw").write_bytes(change(content))
    tiny_bundle.reseal(folder)
    with pytest.raises(BundleError, match=rf"^index\.hnsw must .*({message})"):
        Recommender(folder, index="hnsw")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_word_may_be_anything(content, vectors, file, data):
    """Whatever is written over it, the file is refused, or what hnswlib makes of it can be searched."""
    hnswlib = pytest.importorskip("hnswlib")
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 3))):
        at = 4 * data.draw(st.integers(0, len(content) // 4 - 1))
        small, any_word = st.integers(0, N + 2), st.integers(0, 2**32 - 1)
        struct.pack_into("<I", changed, at, data.draw(st.one_of(small, any_word)))
    file.write_bytes(changed)
    try:
        check_hnsw_file(file, vectors, M)
    except BundleError:
        return
    index = hnswlib.Index(space="ip", dim=DIM)
    index.load_index(str(file), max_elements=N)
    labels, _ = index.knn_query(vectors[:5], k=1, num_threads=1)
    assert ((labels >= 0) & (labels < N)).all()
