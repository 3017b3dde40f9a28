# Any byte of any file of a bundle may be anything: it is refused by an error of dpr_infer, or answers. It never crashes
# the process, hangs, takes memory without bound, or raises something else.

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tiny_bundle
from bundle_opener import BundleOpener

# Far below what a bomb would take; an opened tiny bundle takes a few MiB, a file's largest allowance is 64 MiB.
MOST_MIB = 400
FILES = (
    "backbone.onnx",
    "backbone_step.onnx",
    "catalogue.safetensors",
    "examples.parquet",
    "fusion_moe.onnx",
    "index.hnsw",
    "items.parquet",
    "prompt_encoder.onnx",
    "prompt_fusion.onnx",
    "text_encoder.onnx",
    "tokenizer.json",
)
FEW = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    return tiny_bundle.write_tiny_bundle(
        tmp_path_factory.mktemp("mutated") / "original", version=7, hnsw=True
    )


@pytest.fixture(scope="module")
def opener() -> Iterator[BundleOpener]:
    opener = BundleOpener()
    yield opener
    opener.close()


@pytest.fixture(scope="module")
def folder(original, tmp_path_factory, opener) -> Path:
    """The bundle that is mutated, over and over."""
    opened = opener.open(original, index="hnsw", verify="full")
    assert opened["outcome"] == "answered", opened["text"]
    return Path(shutil.copytree(original, tmp_path_factory.mktemp("mutated") / "copy"))


def restore(folder: Path, original: Path, *names: str) -> None:
    for name in names:
        shutil.copyfile(original / name, folder / name)


def check(opener: BundleOpener, folder: Path, **options: Any) -> dict[str, Any]:
    result = opener.open(folder, **options)
    assert result["outcome"] in ("answered", "refused"), result["text"]
    assert result["grown_mib"] < MOST_MIB, result
    return result


@st.composite
def mutated(draw: st.DrawFn, content: bytes, other: bytes) -> bytes:
    """Bytes changed in one to four places: flipped, overwritten, cut, doubled, or taken from elsewhere."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(changed) - 1)))
        length = draw(st.integers(1, 16))
        match draw(st.sampled_from(["flip", "write", "cut", "double", "splice", "end"])):
            case "flip" if changed:
                changed[at] ^= 1 << draw(st.integers(0, 7))
            case "write":
                words = [b"\0" * 8, b"\xff" * 8, b"\x7f" + b"\xff" * 7, (2**31).to_bytes(8, "little")]
                changed[at : at + length] = draw(st.one_of(st.sampled_from(words), st.binary(max_size=16)))
            case "cut":
                del changed[at : at + length]
            case "double":
                changed[at:at] = changed[at : at + length] * draw(st.integers(1, 50))
            case "splice":
                start = draw(st.integers(0, len(other) - 1))
                changed[at : at + length] = other[start : start + length]
            case "end":
                del changed[at:]
    return bytes(changed)


@pytest.mark.parametrize("name", FILES)
def test_bytes_of_a_file_whose_checksum_was_forged(original, folder, opener, name):
    content = (original / name).read_bytes()
    other = (original / FILES[(FILES.index(name) + 1) % len(FILES)]).read_bytes()

    @FEW
    @given(changed=mutated(content, other))
    def check_all(changed: bytes) -> None:
        try:
            (folder / name).write_bytes(changed)
            tiny_bundle.reseal(folder)
            check(opener, folder, index="hnsw", verify="full")
        finally:
            restore(folder, original, name, "manifest.json")

    check_all()


@pytest.mark.parametrize("name", FILES)
def test_bytes_of_a_file_that_is_damaged(original, folder, opener, name):
    content = (original / name).read_bytes()

    @settings(FEW, max_examples=10)
    @given(changed=mutated(content, content))
    def check_all(changed: bytes) -> None:
        try:
            (folder / name).write_bytes(changed)
            result = check(opener, folder)
            assert (result["outcome"] == "answered") == (changed == content)
            assert changed == content or result["text"].startswith(f"BundleError: {name} must have")
        finally:
            restore(folder, original, name)

    check_all()


@settings(FEW, max_examples=150)
@given(data=st.data())
def test_bytes_of_the_manifest(original, folder, opener, data):
    content = (original / "manifest.json").read_bytes()
    try:
        (folder / "manifest.json").write_bytes(data.draw(mutated(content, content)))
        check(opener, folder)
    finally:
        restore(folder, original, "manifest.json")


ODD_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 5),
    st.sampled_from([2**31 - 1, 2**31, 2**53, 2**63, 2**64, 10**30, -(2**63), 0.5, -0.0, 1e308, 5e-324]),
    st.text(max_size=5),
    st.sampled_from(["..", "/etc/passwd", "backbone.onnx", "toward", "B", "float32", "\x1b[2J"]),
    st.sampled_from([[], {}, [[]], [0], ["B", 8], {"a": 1}]),
)


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every path to a value in a document, the document itself apart."""
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, inner in entries:
        yield (*place, key)
        yield from places(inner, (*place, key))


def changed_values(data: st.DataObject, document: Any) -> Any:
    """Change or leave out one or two values of a document."""
    everywhere = list(places(document))
    for _ in range(data.draw(st.integers(1, 2))):
        *path, last = data.draw(st.sampled_from(everywhere))
        inner = document
        try:
            for key in path:
                inner = inner[key]
            if data.draw(st.booleans()):
                inner[last] = data.draw(ODD_VALUES)
            else:
                del inner[last]
        except (KeyError, IndexError, TypeError):
            continue  # what was changed before is not there any more
    return document


@settings(FEW, max_examples=300)
@given(data=st.data())
def test_values_of_the_manifest(original, folder, opener, data):
    manifest = changed_values(data, json.loads((original / "manifest.json").read_text()))
    try:
        (folder / "manifest.json").write_text(json.dumps(manifest))
        check(opener, folder)
    finally:
        restore(folder, original, "manifest.json")


@settings(FEW, max_examples=100)
@given(data=st.data())
def test_values_of_the_tokenizer(original, folder, opener, data):
    tokenizer = changed_values(data, json.loads((original / "tokenizer.json").read_text()))
    try:
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
        tiny_bundle.reseal(folder)
        check(opener, folder, verify="full")
    finally:
        restore(folder, original, "tokenizer.json", "manifest.json")
