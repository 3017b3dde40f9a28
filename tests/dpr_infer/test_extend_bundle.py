# A copy of a bundle with more items answers as add_items does at run time, bit for bit; it exists whole or not at all.

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import damaged_bundle
import tiny_bundle
from dpr_infer import BundleError, QueryError, Recommender, bundle_extension, bundle_folder
from dpr_infer.bundle_extension import extend_bundle as extend

IDS = tiny_bundle.item_ids(300)
NEW = [f"new {n}" for n in range(150)]
TAGS = [[tiny_bundle.GENRES[n % 6]] * 2 + [tiny_bundle.GENRES[n % 4]] if n % 5 else [] for n in range(150)]
TITLES = [f"New Film {n}" for n in range(150)]
PROMPTS = (None, "comedy", "no war, drama", ["something action", "no comedy"])


@pytest.fixture(scope="module")
def paths(tmp_path_factory) -> dict[int, Path]:
    """A bundle of several blocks in each format version."""
    base = tmp_path_factory.mktemp("bundles")
    sizes = {"items": 300, "user": 9, "side": 7, "hnsw": True}
    return {
        version: tiny_bundle.write_tiny_bundle(base / str(version), version=version, **sizes)
        for version in (1, 2, 3, 4)
    }


@pytest.fixture(scope="module")
def extended(paths, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("extended") / "bundle"
    extend(paths[4], out, NEW, tags=TAGS)
    return out


@pytest.fixture
def place(tmp_path) -> Path:
    """An empty folder; what is left in it afterwards is looked at."""
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def content(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def told(answer) -> tuple:
    return (
        answer.items,
        answer.titles,
        answer.tags,
        answer.rows.tobytes(),
        answer.scores.tobytes(),
        dict(answer.gates),
        answer.wishes,
        answer.history_unread,
    )


def same(left: Recommender, right: Recommender) -> None:
    histories = [[], IDS[:3], [NEW[0], IDS[7], NEW[3]], [NEW[1]], IDS[290:300]]
    for options in ({}, {"where": "comedy & !war"}, {"steer": "strict"}, {"strength": 3.0}):
        for prompt in PROMPTS:
            for history in histories:
                for k in (5, 500):
                    answers = [r.query(history, prompt, k, **options) for r in (left, right)]
                    assert told(answers[0]) == told(answers[1])


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize(
    "options",
    [{}, {"index": "hnsw", "ef": 20, "threads": 2}, {"index": "hnsw", "ef": 300}],
    ids=["exact", "hnsw", "all"],
)
def test_it_answers_as_items_added_at_run_time(paths, place, version, options):
    manifest = extend(paths[version], place / "new", NEW, tags=TAGS, titles=TITLES)
    extended, live = (Recommender(path, **options) for path in (place / "new", paths[version]))
    live.add_items(NEW, tags=TAGS, titles=TITLES)
    assert extended.manifest == manifest
    assert extended.items.ids == live.items.ids
    same(extended, live)
    assert extended.query([NEW[0], IDS[0]]).history_unread == 1


def test_one_by_one_is_as_all_at_once(paths, place):
    """A sum of several tags has the same bits whatever is added beside it."""
    live = Recommender(paths[4])
    for item_id, tags, title in zip(NEW, TAGS, TITLES, strict=True):
        live.add_items([item_id], tags=[tags], titles=[title])
    extend(paths[4], place / "a", NEW[:50], tags=TAGS[:50], titles=TITLES[:50])
    extend(place / "a", place / "b", NEW[50:], tags=TAGS[50:], titles=TITLES[50:])
    twice = Recommender(place / "b", verify="full")
    same(twice, live)
    dims = twice.manifest.dims
    assert (dims.items, dims.trained_items) == (450, 300)
    assert twice.manifest.hnsw.items == 300


def test_vectors_may_be_given(paths, place):
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((150, 16))
    extend(paths[4], place / "new", NEW, vectors=vectors, tags=TAGS)
    live = Recommender(paths[4])
    live.add_items(NEW, vectors=vectors, tags=TAGS)
    same(Recommender(place / "new"), live)
    assert NEW[0] in Recommender(place / "new").query([], k=450).items


def test_the_index_is_built_anew_over_all_items(paths, place):
    before = Recommender(paths[4]).manifest.index
    extend(paths[4], place / "new", NEW, tags=TAGS)
    bundle = Recommender(place / "new", verify="full")._bundle
    assert bundle.manifest.index.blocks > before.blocks
    rows = bundle.catalogue.index["rows"]
    assert sorted(rows[rows != 2**32 - 1].tolist()) == list(range(450))


def test_what_the_manifest_says(paths, place):
    extend(paths[3], place / "new", NEW[:1], tags=TAGS[:1])
    old, new = (json.loads((path / "manifest.json").read_text()) for path in (paths[3], place / "new"))
    digest = hashlib.sha256((paths[3] / "manifest.json").read_bytes()).hexdigest()
    assert new["made_by"].pop("extended_from_manifest_sha256") == digest
    assert new["made_by"].pop("extended_by").startswith("dpr_infer ")
    assert new["dims"].pop("trained_items") == 300
    assert new["dims"].pop("items") == 301
    assert new["hnsw"].pop("items") == 300
    assert new.pop("format_version") == 5
    for key in ("files", "index"):
        del old[key], new[key]
    del old["format_version"], old["dims"]["items"]
    assert new == old
    kept = {path.name for path in paths[3].iterdir()} - {
        "manifest.json",
        "catalogue.safetensors",
        "items.parquet",
    }
    assert {name: content(place / "new")[name] for name in kept} == {
        name: content(paths[3])[name] for name in kept
    }


def test_rights_are_those_of_any_file(paths, place):
    extend(paths[4], place / "new", NEW[:1], tags=TAGS[:1])
    umask = os.umask(0)
    os.umask(umask)
    assert {path.stat().st_mode & 0o777 for path in (place / "new").iterdir()} == {0o666 & ~umask}


def test_columns_that_the_bundle_has_beside_are_kept(paths, place, tmp_path):
    folder = tmp_path / "bundle"
    folder.mkdir()
    for path in paths[4].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    items = pq.read_table(folder / "items.parquet")
    large = pa.large_list(pa.large_string())
    fields = [
        pa.field("item_id", pa.large_string(), nullable=False),
        pa.field("title", pa.large_string()),
        pa.field("tags", large),
        pa.field("year", pa.int64(), nullable=False),
    ]
    pq.write_table(items.cast(pa.schema(fields)), folder / "items.parquet", row_group_size=70)
    tiny_bundle.reseal(folder)
    extend(folder, place / "new", NEW, tags=TAGS, titles=TITLES)
    table = pq.read_table(place / "new" / "items.parquet")
    assert table.schema.names == ["item_id", "title", "tags", "year"]
    assert table.column("year").to_pylist() == items.column("year").to_pylist() + [None] * 150
    live = Recommender(paths[4])
    live.add_items(NEW, tags=TAGS, titles=TITLES)
    same(Recommender(place / "new"), live)


def test_a_built_engine_is_not_taken_over(paths, place, tmp_path):
    folder = tmp_path / "bundle"
    folder.mkdir()
    for path in paths[4].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "engines").mkdir()
    extend(folder, place / "new", NEW, tags=TAGS)
    assert not (place / "new" / "engines").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"item_ids": [], "tags": []}, "there must be items to add; got none"),
        ({"item_ids": ["a", IDS[0]]}, "item_ids must be new; the bundle has 'i100'"),
        ({"item_ids": ["a", "a"]}, "item_ids must be unique"),
        ({"item_ids": ["a", ""]}, "item_ids must not be empty"),
        ({"tags": [["War"], ["Horror"]]}, "tags must be of the bundle's 6 tags; 'Horror' of 'b' is none"),
        ({"tags": None}, "vectors, tags or texts"),
        ({"titles": ["x"]}, "titles must have one entry an item"),
        ({"vectors": np.zeros((2, 15))}, r"vectors must have the shape \(2, 16\)"),
        ({"vectors": np.full((2, 16), np.nan)}, "the items cannot be added: .*nan"),
        ({"titles": ["x", "\ud800"]}, "must be named in Unicode"),
    ],
)
def test_what_cannot_be_added(paths, place, arguments, message):
    with pytest.raises(QueryError, match=message):
        extend(paths[4], place / "new", **({"item_ids": ["a", "b"], "tags": [["War"], []]} | arguments))
    assert list(place.iterdir()) == []


def test_vectors_of_tags_that_overflow(paths, place, tmp_path):
    folder = tmp_path / "bundle"
    folder.mkdir()
    for path in paths[4].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    damaged_bundle.edit_tensors(folder, lambda arrays: arrays["tag_vectors"].fill(3e38))
    with pytest.raises(QueryError, match=r"the items cannot be added: .*inf"):
        extend(folder, place / "new", ["a"], tags=[["War", "Comedy"]])


@pytest.mark.parametrize("version", [1, 2])
def test_bundles_that_are_too_old(paths, place, version):
    with pytest.raises(BundleError, match=f"format version 3 on; .* has version {version}: export it anew"):
        extend(paths[version], place / "new", NEW, tags=TAGS)
    assert list(place.iterdir()) == []


def test_a_damaged_bundle_is_not_extended(paths, place, tmp_path):
    folder = tmp_path / "bundle"
    folder.mkdir()
    for path in paths[4].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "prompt_encoder.onnx").write_bytes(b"\0" * (folder / "prompt_encoder.onnx").stat().st_size)
    with pytest.raises(BundleError, match=r"prompt_encoder\.onnx must have the SHA-256"):
        extend(folder, place / "new", NEW, tags=TAGS)
    assert list(place.iterdir()) == []


def test_only_a_bundle_is_replaced_and_only_when_forced(paths, place):
    out = place / "new"
    extend(paths[4], out, NEW[:1], tags=TAGS[:1])
    before = content(out)
    with pytest.raises(
        QueryError, match="expected a new folder, got an existing bundle; --force replaces it"
    ):
        extend(paths[4], out, NEW, tags=TAGS)
    assert content(out) == before
    extend(paths[4], out, NEW, tags=TAGS, force=True)
    assert len(Recommender(out).items) == 450
    extend(out, out, ["more"], tags=[[]], force=True)
    assert len(Recommender(out).items) == 451
    (place / "other").mkdir()
    (place / "dangling").symlink_to(place / "nowhere")
    for name in ("other", "dangling"):
        with pytest.raises(QueryError, match="left untouched"):
            extend(paths[4], place / name, NEW, tags=TAGS, force=True)
    assert sorted(path.name for path in place.iterdir()) == ["dangling", "new", "other"]


STEPS = [(bundle_extension, name) for name in ("build_index", "_write", "_longer", "seal", "open_all")] + [
    (bundle_folder, name) for name in ("sha256", "_finish", "put_in_place", "_to_disk")
]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step[1])
@pytest.mark.parametrize(
    "error", [RuntimeError("out of luck"), KeyboardInterrupt()], ids=["error", "interrupt"]
)
def test_an_error_in_the_middle_leaves_things_as_they_were(paths, place, monkeypatch, step, error):
    extend(paths[4], place / "old", NEW[:1], tags=TAGS[:1])
    before = content(place / "old")

    def fail(*_args, **_options):
        raise error

    monkeypatch.setattr(*step, fail)
    for name in ("new", "old"):
        with pytest.raises(type(error)):
            extend(paths[4], place / name, NEW, tags=TAGS, force=True)
    assert [path.name for path in place.iterdir()] == ["old"]
    assert content(place / "old") == before


_EXTEND = """
import json, os, signal, sys
from dpr_infer import bundle_extension, bundle_folder

path, out, ids, step, after = sys.argv[1:]
module = bundle_folder if hasattr(bundle_folder, step) else bundle_extension
real, calls = getattr(module, step), []

def die(*args, **options):
    calls.append(1)
    if len(calls) > int(after):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **options)

setattr(module, step, die)
bundle_extension.extend_bundle(path, out, json.loads(ids), tags=[["War"]] * len(json.loads(ids)), force=True)
"""


@pytest.mark.parametrize(
    ("name", "step", "after"),
    [
        ("new", "_longer", 0),
        ("new", "sha256", 5),
        ("new", "open_all", 0),
        ("new", "put_in_place", 0),
        ("old", "_to_disk", 4),
        ("old", "put_in_place", 0),
    ],
)
def test_a_killed_process_leaves_no_bundle_or_the_old_one(paths, place, step, after, name):
    extend(paths[4], place / "old", NEW[:1], tags=TAGS[:1])
    before = content(place / "old")
    arguments = [str(paths[4]), str(place / name), json.dumps(NEW), step, str(after)]
    done = subprocess.run([sys.executable, "-c", _EXTEND, *arguments], check=False)
    assert done.returncode == -signal.SIGKILL
    visible = [path.name for path in place.iterdir() if not path.name.startswith(f".{name}.")]
    assert visible == ["old"]
    assert content(place / "old") == before
    extend(paths[4], place / name, NEW, tags=TAGS, force=True)  # what is left disturbs nobody
    assert len(Recommender(place / name, verify="full").items) == 450


@pytest.mark.parametrize("most", [1_000, 10_000, 30_000])
def test_a_full_disk(paths, place, most):
    """A limit on the size of files stands for a disk without room."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    script = _EXTEND.replace("os.kill", "int")
    arguments = [str(paths[4]), str(place / "new"), json.dumps(NEW), "seal", "99"]
    done = subprocess.run(
        [sys.executable, "-B", "-c", script, *arguments],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "OSError" in done.stderr
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["dims", "trained_items"], 0, "trained_items must be an integer from 1 to 450; got 0"),
        (["dims", "trained_items"], 451, "trained_items must be an integer from 1 to 450; got 451"),
        (["dims", "trained_items"], True, "trained_items must be an integer"),
        (["dims", "trained_items"], None, "trained_items must be an integer"),
        (["hnsw", "items"], 0, "items must be an integer from 1 to 450; got 0"),
        (["hnsw", "items"], 451, "items must be an integer from 1 to 450; got 451"),
        (["hnsw", "items"], 299, r"index\.hnsw must be an index of 299 items"),
        (["graphs", "prompt_fusion"], ..., "graphs: fusion_moe: inputs must be user, tokens"),
        (["dims", "trained_items"], ..., "must have the key 'trained_items'"),
        (["hnsw", "items"], ..., "must have the key 'items'"),
        (["index"], ..., "must have the key 'index'"),
        (["dims", "fusion"], ..., "must have the key 'fusion'"),
    ],
)
def test_what_the_manifest_of_an_extended_bundle_must_say(extended, path, value, message):
    def edit(manifest):
        *keys, last = path
        for key in keys:
            manifest = manifest[key]
        if value is ...:
            del manifest[last]
        else:
            manifest[last] = value

    before = (extended / "manifest.json").read_bytes()
    tiny_bundle.edit_manifest(extended, edit)
    try:
        with pytest.raises(BundleError, match=message):
            Recommender(extended, index="hnsw")
    finally:
        (extended / "manifest.json").write_bytes(before)
