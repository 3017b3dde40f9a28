# Catalogue files: what is saved is loaded, a save is whole or not at all, and a file that is damaged or forged is
# refused or harmless.

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from catalogue_model import Model, random_tags, random_vectors
from core import oracle
from dpr_infer import BundleError, BundleVersionError, Catalogue, QueryError

N_ITEMS, DIM = 150, 6
QUERIES = np.random.default_rng(1).normal(size=(3, DIM)).astype(np.float32)

Header = dict[str, Any]


@pytest.fixture(scope="module")
def model() -> Model:
    rng = np.random.default_rng(0)
    model = Model(
        random_vectors(rng, N_ITEMS, DIM),
        [frozenset(("war", "comedy", "film noir")), *random_tags(rng, N_ITEMS - 1)],
    )
    model.removed, model.off = {3, 149}, {5, 6}
    return model


@pytest.fixture(scope="module")
def content(model: Model, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file of which row 3 and the last were removed, and rows 5 and 6 are switched off."""
    catalogue = Catalogue(model.vectors, model.tags, parts=[4, 2])
    catalogue.remove([3, 149])
    catalogue.set_available([5, 6], False)
    path = tmp_path_factory.mktemp("catalogues") / "file"
    catalogue.save(path)
    return path.read_bytes()


@pytest.fixture
def path(content: bytes, tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(content)
    return tmp_path / "file"


def split(content: bytes) -> tuple[Header, bytes]:
    size = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def join(header: Header | bytes, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data


def refused(path: Path, message: str, error: type[Exception] = BundleError) -> None:
    with pytest.raises(error, match=message):
        Catalogue.load(path)


def test_what_is_saved_is_loaded(path, model):
    for verify in ("fast", "full"):
        catalogue = Catalogue.load(path, verify=verify)
        assert (catalogue.n_items, catalogue.n_rows, catalogue.n_pending) == (N_ITEMS - 2, N_ITEMS, 0)
        assert (catalogue.dim, catalogue.parts) == (DIM, (4, 2))
        assert set(catalogue.tags) == {"war", "comedy", "film noir"}
        where = ["war", "!WAR & comedy", None]
        got = catalogue.search(QUERIES, N_ITEMS, where=where)
        oracle.assert_same_results(got, model.search(QUERIES, N_ITEMS, where=where))
        catalogue.set_available([6], True)
        assert 6 in catalogue.search(QUERIES[0], N_ITEMS)[0]
        assert 5 not in catalogue.search(QUERIES[0], N_ITEMS)[0]
        with pytest.raises(QueryError, match=r"row|item"):
            catalogue.set_available([3], True)


def test_without_tags(tmp_path):
    Catalogue(np.eye(3)).save(tmp_path / "file")
    loaded = Catalogue.load(str(tmp_path / "file"))
    assert loaded.tags is None
    assert loaded.search([1, 2, 3], 3)[0].tolist() == [2, 1, 0]


def test_names_of_all_alphabets(tmp_path):
    names = ["naïve", "war", "Война", "\U0001f3ac", 'quo"te', "\n", "x" * 255]
    Catalogue(np.eye(7), [[name] for name in names]).save(tmp_path / "file")
    loaded = Catalogue.load(tmp_path / "file")
    assert loaded.tags == tuple(names)
    assert loaded.search(np.ones(7), 1, where="война")[0].tolist() == [2]


def test_the_safetensors_library_reads_it(path, model):
    arrays = safetensors.numpy.load_file(path)
    kept = np.delete(np.arange(N_ITEMS), [3, 149])
    np.testing.assert_array_equal(arrays["row_ids"], kept)
    np.testing.assert_array_equal(arrays["vectors"], model.vectors[kept])
    np.testing.assert_array_equal(np.flatnonzero(~arrays["available"]), [4, 5])


def test_saving_over_the_file_that_is_mapped(path, model):
    first = Catalogue.load(path)
    second = Catalogue.load(path)
    second.remove(list(range(10, 100)))
    second.save(path)
    oracle.assert_same_results(first.search(QUERIES, 20), model.search(QUERIES, 20))
    first.save(path)
    oracle.assert_same_results(Catalogue.load(path).search(QUERIES, 20), model.search(QUERIES, 20))


def test_an_interrupted_save_leaves_what_was_there(path, content, monkeypatch):
    catalogue = Catalogue.load(path)
    catalogue.remove([0])

    def write_half(tensors, filename, metadata):
        Path(filename).write_bytes(content[:500])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.numpy, "save_file", write_half)
    with pytest.raises(OSError, match="No space left"):
        catalogue.save(path)
    monkeypatch.undo()

    def no_disk(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", no_disk)
    with pytest.raises(KeyboardInterrupt):
        catalogue.save(path)
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]
    monkeypatch.undo()
    catalogue.save(path)
    assert Catalogue.load(path).n_items == N_ITEMS - 3


def test_the_new_file_is_on_disk_before_it_takes_the_place_of_the_old(path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, Path.replace

    def noting_fsync(descriptor):
        steps.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    def noting_replace(self, target):
        steps.append("replace")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(Path, "replace", noting_replace)
    Catalogue.load(path).save(path)
    assert len(steps) == 3
    assert steps[0].endswith(".partial")
    assert steps[1:] == ["replace", str(path.parent)]


def test_a_new_file_has_the_usual_rights(tmp_path):
    before = os.umask(0o027)
    try:
        Catalogue(np.eye(2)).save(tmp_path / "file")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_no_folder_to_save_in(tmp_path):
    with pytest.raises(FileNotFoundError):
        Catalogue(np.eye(2)).save(tmp_path / "nowhere" / "file")


def test_wrong_arguments(path):
    refused(path.parent / "nowhere", "nowhere must be a valid safetensors file: No such file")
    refused(path.parent, "must be a valid safetensors file")
    os.mkfifo(path.parent / "pipe")
    refused(path.parent / "pipe", "must be a valid safetensors file: it is a folder, pipe or device")
    with pytest.raises(QueryError, match='verify must be "fast" or "full"; got 1'):
        Catalogue.load(path, verify=1)
    with pytest.raises(QueryError, match="threads must be an int >= 1"):
        Catalogue.load(path, threads=0)


def test_truncated_anywhere(path, content):
    places = {*range(0, 300, 2), *np.random.default_rng(0).integers(300, len(content), 100).tolist()}
    for place in sorted(places):
        path.write_bytes(content[:place])
        refused(path, "file must be a valid safetensors file")
    path.write_bytes(content + b"\0")
    refused(path, "tensors must end with the file")


def search_safely(path: Path) -> None:
    """Load and search a damaged file: it may be refused, and nothing worse may happen."""
    try:
        catalogue = Catalogue.load(path)
    except BundleError:
        return
    rows, _ = catalogue.search(QUERIES[:, : catalogue.dim], 10)
    assert rows.max() < catalogue.n_rows


def test_any_byte_of_the_header_changed(path, content):
    size = 8 + int.from_bytes(content[:8], "little")
    rng = np.random.default_rng(0)
    for place in range(size):
        value = rng.choice([content[place] ^ 1, rng.integers(256), ord("9")])
        path.write_bytes(content[:place] + bytes([value]) + content[place + 1 :])
        search_safely(path)


def test_any_bytes_of_the_data_changed(path, content):
    size = 8 + int.from_bytes(content[:8], "little")
    rng = np.random.default_rng(0)
    for _ in range(400):
        damaged = bytearray(content)
        for place in rng.integers(size, len(content), rng.integers(1, 4)):
            damaged[place] = int(rng.integers(256))
        path.write_bytes(damaged)
        search_safely(path)


def test_an_index_that_full_verification_passes_finds_everything(path, content, model):
    """A changed index is refused, or still gives the exact answer."""
    header, data = split(content)
    start = len(content) - len(data)
    expected = model.search(QUERIES, 20)
    rng = np.random.default_rng(0)
    n_refused = 0
    for _ in range(300):
        name = "index." + str(rng.choice(["codes", "rows", "cluster", "bounds", "centres"]))
        begin, end = header[name]["data_offsets"]
        damaged = bytearray(content)
        damaged[start + int(rng.integers(begin, end))] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            catalogue = Catalogue.load(path, verify="full")
        except BundleError:
            n_refused += 1
        else:
            oracle.assert_same_results(catalogue.search(QUERIES, 20), expected)
    assert n_refused > 50


@pytest.mark.parametrize("kind", ["code_error", "norm", "across", "along_max"])
def test_full_verification_notices_bounds_that_do_not_hold(path, kind):
    def shrink(arrays, metadata):
        kinds = ["scale", "code_error", "code_norm", "norm", "along_min", "along_max", "across"]
        bounds = arrays["index.bounds"]
        low = bounds[:, 4] if kind == "along_max" else 0
        bounds[:, kinds.index(kind)] = low

    change(path, shrink)
    Catalogue.load(path)
    with pytest.raises(BundleError, match=f"file: .*{kind}"):
        Catalogue.load(path, verify="full")


def test_full_verification_notices_other_parts(path):
    change(
        path, lambda arrays, metadata: metadata.update(parts="[3, 3]")
    )  # as many quads, of other dimensions
    with pytest.raises(BundleError):
        Catalogue.load(path, verify="full")


def change(path: Path, edit: Callable[[dict[str, np.ndarray], dict[str, str]], object]) -> None:
    """Write a file whose tensors and metadata an edit has changed, as the library writes it."""
    with safetensors.safe_open(path, "numpy") as file:
        metadata = file.metadata()
    arrays = safetensors.numpy.load_file(path)
    edit(arrays, metadata)
    safetensors.numpy.save_file(arrays, path, metadata)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda a, m: a.pop("row_ids"), "file must hold the tensors vectors, row_ids"),
        (lambda a, m: a.pop("index.bounds"), "must hold the tensors"),
        (lambda a, m: a.pop("tag_bits"), "must hold the tensors .*tag_bits"),
        (lambda a, m: a.update(more=np.zeros(1)), "must hold the tensors .*got .*more"),
        (lambda a, m: m.update(tags="null"), "must hold the tensors"),
        (
            lambda a, m: a.update(vectors=a["vectors"].astype(np.float64)),
            r"vectors must be F32 \(any, 6\); got F64",
        ),
        (
            lambda a, m: a.update(vectors=a["vectors"].T.copy()),
            r"vectors must be F32 \(any, 6\); got F32 \(6, 148",
        ),
        (
            lambda a, m: a.update(vectors=a["vectors"][1:]),
            r"available must be BOOL \(147,\); got BOOL \(148,\)",
        ),
        (lambda a, m: a.update(vectors=a["vectors"].ravel()), "vectors must be F32"),
        (
            lambda a, m: a.update(row_ids=a["row_ids"].astype(np.int32)),
            r"row_ids must be I64 \(148,\); got I32",
        ),
        (lambda a, m: a.update(row_ids=a["row_ids"][:-1]), r"row_ids must be I64 \(148,\); got I64 \(147,\)"),
        (lambda a, m: a.update(tag_bits=a["tag_bits"].view(np.int64)), "tag_bits must be U64"),
        (
            lambda a, m: a.update(tag_bits=a["tag_bits"].repeat(2, 1)),
            r"tag_bits must be U64 \(148, 1\); got U64 \(148, 2\)",
        ),
        (lambda a, m: a["tag_bits"].__setitem__((7, 0), 8), "tag_bits must be 0 past the last of 3 tags"),
        (lambda a, m: a.update({"index.codes": a["index.codes"][1:]}), "index.rows must be U32"),
        (
            lambda a, m: a.update({"index.codes": a["index.codes"].view(np.int8)}),
            "index.codes must be U8 .* got I8",
        ),
        (lambda a, m: a.update({"index.rows": a["index.rows"][:, :63].copy()}), "index.rows must be U32"),
        (lambda a, m: a.update({"index.cluster": a["index.cluster"][1:]}), "index.cluster must be U32"),
        (
            lambda a, m: a.update({"index.cluster": a["index.cluster"].astype(np.uint64)}),
            "index.cluster must be U32",
        ),
        (
            lambda a, m: a.update({"index.bounds": a["index.bounds"][:1]}),
            r"index.bounds must be F32 \(2, 7, ",
        ),
        (
            lambda a, m: a.update({"index.bounds": a["index.bounds"][:, :6]}),
            r"index.bounds must be F32 \(2, 7, ",
        ),
        (
            lambda a, m: a.update({"index.centres": a["index.centres"][:, :5].copy()}),
            r"index.centres must be F32 \(any, 6\)",
        ),
        (lambda a, m: m.update(parts="[6]"), "index.bounds must be F32|index.codes must be U8"),
        (lambda a, m: m.update(parts="[4, 3]"), r"vectors must be F32 \(any, 7\)"),
        # Values that the core checks.
        (lambda a, m: a["vectors"].__setitem__((3, 5), np.nan), "file: .*finite"),
        (lambda a, m: a["vectors"].__setitem__((0, 0), np.inf), "file: .*finite"),
        (lambda a, m: a["row_ids"].__setitem__(0, -1), "file: .*row_ids"),
        (lambda a, m: a["row_ids"].__setitem__(1, 0), "file: .*row_ids"),
        (lambda a, m: a["row_ids"].__setitem__(-1, 150), "file: .*row"),
        (lambda a, m: a["row_ids"].__setitem__(-1, 2**62), "file: .*row"),
        (lambda a, m: m.update(n_rows="148"), "file: .*row"),
        (lambda a, m: m.update(n_rows="0"), "file: .*row"),
        (lambda a, m: a["index.rows"].__setitem__((0, 0), a["index.rows"][0, 1]), "file: .*rows"),
        (lambda a, m: a["index.rows"].__setitem__((0, 0), 148), "file: .*rows"),
        (lambda a, m: a["index.rows"].__setitem__((0, 0), 2**32 - 2), "file: .*rows"),
        (lambda a, m: a["index.rows"].__setitem__((0, 0), 2**32 - 1), "file: .*rows"),
        (lambda a, m: a["index.cluster"].__setitem__(-1, 2**32 - 1), "file: .*cluster"),
        (lambda a, m: a["index.cluster"].__setitem__(-1, len(a["index.centres"])), "file: .*cluster"),
        (lambda a, m: a["index.bounds"].__setitem__((1, 3, 0), np.nan), "file: .*norm of block 0"),
        (lambda a, m: a["index.bounds"].__setitem__((0, 0, 0), np.inf), "file: .*scale of block 0"),
        (lambda a, m: a["index.centres"].__setitem__((0, 0), np.nan), "file: .*centre 0"),
    ],
)
def test_wrong_contents(path, edit, message):
    change(path, edit)
    refused(path, message)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format", None, "file: format must be 'dpr-catalogue'; got none"),
        ("format", "dpr-bundle", "file: format must be 'dpr-catalogue'; got 'dpr-bundle'"),
        ("format_version", None, "format_version must be 1, .*; got none"),
        ("format_version", "2", "format_version must be 1, .*; got 2"),
        ("parts", None, "parts must be in the metadata"),
        ("parts", "", "parts must be UTF-8 JSON"),
        ("parts", "6", "parts must be an array; got 6"),
        ("parts", "[]", "parts must be one or two widths"),
        ("parts", "[2, 2, 2]", "parts must be one or two widths"),
        ("parts", "[4, -2]", r"parts\[1\] must be an integer from 1"),
        ("parts", "[4, 1e400]", "1e400 is larger than any number"),
        ("parts", "[4.0, 2]", r"parts\[0\] must be an integer from 1"),
        ("parts", "[4, NaN]", "NaN is not a JSON number"),
        ("parts", "[1" + "0" * 5000 + "]", "parts must be UTF-8 JSON"),
        ("parts", "[" * 100_000, "parts must be a flat JSON document; it nests too deeply"),
        ("tags", None, "tags must be in the metadata"),
        ("tags", "[", "tags must be UTF-8 JSON"),
        ("tags", "{}", "tags must be an array"),
        ("tags", '["a", 3, "b"]', r"tags\[1\] must be a string"),
        ("tags", '["a", "", "b"]', r"tags\[1\] must be a string that is not empty"),
        ("tags", '["a", "b", "a"]', "tags: tags must have different names"),
        ("tags", json.dumps([str(i) for i in range(4097)]), "at most 4096 different names"),
        ("tags", json.dumps(["x" * 256]), "must have 1 to 255 characters"),
        ("tags", json.dumps([str(i) for i in range(65)]), r"tag_bits must be U64 \(148, 2\)"),
        ("tags", '["a", "b"]', "tag_bits must be 0 past the last of 2 tags"),
        ("n_rows", None, "n_rows must be a number"),
        ("n_rows", "-1", "n_rows must be a number"),
        ("n_rows", "1e3", "n_rows must be a number"),
        ("n_rows", "", "n_rows must be a number"),
        ("n_rows", "2147483648", "n_rows must be a number from 0 to 2147483647"),
        ("n_rows", "9" * 5000, "n_rows must be a number"),
    ],
)
def test_wrong_metadata(path, key, value, message):
    def edit(arrays, metadata):
        if value is None:
            del metadata[key]
        else:
            metadata[key] = value

    change(path, edit)
    refused(path, message, BundleVersionError if key == "format_version" else BundleError)


def test_an_unknown_version_is_refused_before_anything_else(path, content):
    header, _ = split(content)
    header = {"__metadata__": header["__metadata__"] | {"format_version": "2", "parts": "3"}}
    path.write_bytes(join(header, b""))
    refused(path, "format_version must be 1", BundleVersionError)


def test_unknown_metadata_is_ignored(path):
    change(path, lambda arrays, metadata: metadata.update(note="later writers may add"))
    Catalogue.load(path)


def offsets(name: str, begin: int, end: int) -> Callable[[Header], object]:
    return lambda header: header[name].update(data_offsets=[begin, end])


def shifted(name: str, by: int) -> Callable[[Header], object]:
    def edit(header: Header) -> None:
        header[name]["data_offsets"] = [at + by for at in header[name]["data_offsets"]]

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (shifted("row_ids", 8), "must begin at byte"),
        (shifted("row_ids", -8), "must begin at byte|integer from 0"),
        (shifted("index.codes", 10**9), "must begin at byte|must end with the file"),
        (offsets("row_ids", 0, 0), "begin and end of 1184 bytes"),
        (offsets("row_ids", 1184, 0), "begin and end of 1184 bytes"),
        (offsets("row_ids", -1184, 0), "integer from 0"),
        (offsets("row_ids", 2**63, 2**63 + 1184), "integer from 0"),
        (lambda h: h["row_ids"].update(data_offsets=[0]), "begin and end"),
        (lambda h: h["row_ids"].update(data_offsets=None), "data_offsets must be an array"),
        (lambda h: h["row_ids"].update(shape=[2**40, 2**40]), "begin and end of"),
        (lambda h: h["row_ids"].update(shape=[-148]), "integer from 0"),
        (lambda h: h["row_ids"].update(shape=[True]), "integer from 0"),
        (lambda h: h["row_ids"].update(shape=[1] * 8 + [148]), "at most 8 sizes"),
        (lambda h: h["row_ids"].update(shape="148"), "shape must be an array"),
        (lambda h: h["row_ids"].update(dtype="F8"), "dtype must be one of"),
        (lambda h: h["row_ids"].update(dtype=3), "dtype must be one of"),
        (lambda h: h["row_ids"].pop("dtype"), "must have the key 'dtype'"),
        (lambda h: h.update(row_ids=3), "row_ids must be an object"),
        (lambda h: h.update(__metadata__=[]), "__metadata__ must be an object"),
        (lambda h: h["__metadata__"].update(n_rows=150), "n_rows must be a string; got 150"),
        (lambda h: h["__metadata__"].update(tags=["war"]), "tags must be a string"),
        (lambda h: h.pop("__metadata__"), "format must be 'dpr-catalogue'; got none"),
        (lambda h: h.pop("row_ids"), "must begin at byte|must end with the file"),
    ],
)
def test_forged_headers(path, content, edit, message):
    header, data = split(content)
    edit(header)
    path.write_bytes(join(header, data))
    refused(path, message)


@pytest.mark.parametrize(
    "header",
    [b"", b"[]", b"null", b"{", b'{"a": 1, "a": 1}', b"\xff" * 16, b"[" * 50_000, b'{"a": ' * 50_000],
)
def test_headers_that_are_none(path, header):
    path.write_bytes(join(header, b""))
    refused(path, "file must be a valid safetensors file: ")


@pytest.mark.parametrize("length", [2**24 + 1, 2**63, 2**64 - 1])
def test_absurd_header_lengths(path, content, length):
    path.write_bytes(length.to_bytes(8, "little") + content[8:])
    os.truncate(path, 2**24 + 100)  # takes no space on disk
    refused(path, "its header must fit")


def test_a_tensor_given_twice(path, content):
    header, data = split(content)
    text = json.dumps(header)[:-1] + ', "row_ids": ' + json.dumps(header["vectors"]) + "}"
    path.write_bytes(join(text.encode(), data))
    refused(path, "key 'row_ids' appears twice")


def test_tensors_must_be_aligned(path, content):
    header, data = split(content)
    text = json.dumps(header).encode()
    text += b" " * (4 + -len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    refused(path, "must begin at a multiple of 8 bytes to be mapped")


def test_other_bytes_than_0_and_1_are_no_bools(path, content):
    header, data = split(content)
    begin, _ = header["available"]["data_offsets"]
    path.write_bytes(join(header, data[:begin] + b"\2" + data[begin + 1 :]))
    refused(path, "available must hold 0 and 1 alone")
