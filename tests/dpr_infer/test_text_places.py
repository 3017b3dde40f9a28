# Items that are added to a bundle with a text encoder lie where their description says; without one, texts are refused.

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

import damaged_bundle
import tiny_bundle
from dpr_infer import BundleError, EngineError, QueryError, QueryTypeError, Recommender, extend_bundle
from dpr_infer.bundle import open_bundle
from dpr_infer.item_places import ItemPlaces, list_items
from dpr_infer.item_text import describe
from golden import generate
from golden.other_reader import OtherReader

GOLDEN = Path(__file__).parents[1] / "golden"
MADE = generate.golden(7)
NEW = ["first", "second", "third"]
TITLES = ["The Ledger 9", "A Kite", "The Hollow Parade 4"]
TAGS = [["War", "Comedy"], [], ["Drama"]]
TEXTS = ["Of an orchard in winter", "An engine", ""]
PROMPTS = (None, "comedy", "no war, drama")


@pytest.fixture
def copy(tmp_path) -> Path:
    """A bundle with a text encoder, to be changed."""
    return Path(shutil.copytree(GOLDEN / "v7", tmp_path / "bundle"))


def places(folder: Path, titles=TITLES, tags=TAGS, texts=TEXTS) -> np.ndarray:
    ids = [f"new {n}" for n in range(len(texts))]
    return ItemPlaces(open_bundle(folder)).place(list_items(ids, None, titles, tags, texts)).vectors


def told(recommender: Recommender) -> list:
    answers = [recommender.query([], prompt, 200) for prompt in PROMPTS]
    return [(answer.items, answer.titles, answer.scores.tobytes()) for answer in answers]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            ("Toy Story (1995)", ["Animation", "Comedy"], "Toys."),
            "Toy Story (1995). Animation, Comedy. Toys.",
        ),
        ((" Rain? ", [], "Rain? More rain"), "Rain? More rain."),
        (("Heat", [], "Heat. It is hot!"), "Heat. It is hot!"),
        (("Heat", [], "Heatwave"), "Heat. Heatwave."),
        (("", ["War", "Drama", "War"], " "), "War, Drama."),
        (("", [], ""), ""),
    ],
)
def test_descriptions(given, said):
    assert describe(*given) == said


def test_an_item_lies_where_one_of_the_same_title_tags_and_text_lies():
    """The golden bundle's items from row 70 on were added, by the formula of another place."""
    rows = range(MADE.trained, len(MADE.ids))
    columns = [[column[row] for row in rows] for column in (MADE.titles, MADE.tags, MADE.texts)]
    found = places(GOLDEN / "v7", *columns)
    expected = open_bundle(GOLDEN / "v7").catalogue.vectors[MADE.trained :]
    assert found.tobytes() == expected.tobytes()
    assert len({row.tobytes() for row in found[:, -generate.TEXT :]}) > 5
    reader = OtherReader(GOLDEN / "v7")
    for vector, *item in zip(found, *columns, strict=True):
        assert vector.tobytes() == reader.place(*item).tobytes()


def test_a_long_text_is_cut_and_a_new_one_has_its_own_place():
    long = ["kite " * 50, "kite " * 60, "winter"]
    found = places(GOLDEN / "v7", [""] * 3, [[]] * 3, long)
    assert found[0].tobytes() == found[1].tobytes() != found[2].tobytes()
    number = MADE.vocabulary.index
    assert MADE.text_words is not None
    eight = MADE.text_words[number("[CLS]")] + 8 * MADE.text_words[number("kite")]
    np.testing.assert_array_equal(found[0, -generate.TEXT :], eight)


def test_live_and_on_disk_are_alike_to_the_last_bit(tmp_path):
    live = Recommender(GOLDEN / "v7")
    live.add_items(NEW, titles=TITLES, tags=TAGS, texts=TEXTS)
    manifest = extend_bundle(
        GOLDEN / "v7", tmp_path / "a", NEW[:1], titles=TITLES[:1], tags=TAGS[:1], texts=TEXTS[:1]
    )
    assert (manifest.format_version, manifest.dims.text) == (7, generate.TEXT)
    extend_bundle(tmp_path / "a", tmp_path / "b", NEW[1:], titles=TITLES[1:], tags=TAGS[1:], texts=TEXTS[1:])
    assert told(Recommender(tmp_path / "b", verify="full")) == told(live)
    other = Recommender(GOLDEN / "v7", threads=2)
    for n, item_id in enumerate(NEW):
        other.add_items([item_id], titles=TITLES[n : n + 1], tags=TAGS[n : n + 1], texts=TEXTS[n : n + 1])
    assert told(other) == told(live)


def test_tags_and_titles_are_read_without_a_text():
    """As training describes items without one."""
    with_blank = places(GOLDEN / "v7", texts=[""] * 3)
    bundle = open_bundle(GOLDEN / "v7")
    without = ItemPlaces(bundle).place(list_items(NEW, None, TITLES, TAGS, None)).vectors
    assert without.tobytes() == with_blank.tobytes()
    # An id that stands in for a title says nothing.
    untitled = ItemPlaces(bundle).place(list_items(["the kite"], None, None, [[]], None)).vectors
    assert not untitled.any()


def test_vectors_are_taken_as_they_are():
    vectors = np.ones((1, MADE.vectors.shape[1]), np.float32)
    placed = ItemPlaces(open_bundle(GOLDEN / "v7")).place(list_items(["x"], vectors, ["A Kite"], None, None))
    assert placed.vectors.tobytes() == vectors.tobytes()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"texts": ["x"]}, QueryError, "texts must have one entry an item, 3; got 1"),
        ({"texts": ["x", None, "y"]}, QueryTypeError, r"texts\[1\] must be a str"),
        ({"texts": "abc"}, QueryTypeError, "texts must be a collection"),
        ({"vectors": np.zeros((3, 14))}, QueryError, "must be given vectors or texts.*; got both"),
        ({"tags": None, "texts": None}, QueryError, "vectors, tags or texts.* got none of them"),
    ],
)
def test_wrong_texts_add_nothing(arguments, error, message):
    recommender = Recommender(GOLDEN / "v7")
    with pytest.raises(error, match=message):
        recommender.add_items(NEW, **({"titles": TITLES, "tags": TAGS, "texts": TEXTS} | arguments))
    assert len(recommender.items) == len(MADE.ids)


def test_without_a_text_encoder_texts_are_refused_and_the_way_out_is_told(tmp_path):
    recommender, message = (
        Recommender(GOLDEN / "v6"),
        "the bundle has no text encoder.*dpr-export --text-encoder",
    )
    with pytest.raises(QueryError, match=message):
        recommender.add_items(NEW, tags=TAGS, texts=TEXTS)
    with pytest.raises(QueryError, match=message):
        extend_bundle(GOLDEN / "v6", tmp_path / "new", NEW, tags=TAGS, texts=TEXTS)
    assert list(tmp_path.iterdir()) == []
    recommender.add_items(NEW, tags=TAGS)


def test_the_graph_is_opened_when_a_text_is_read_and_is_still_that_of_the_bundle(copy):
    recommender = Recommender(copy)
    assert "text_encoder" not in recommender.graph_providers
    damaged_bundle.edit_graph(copy, "text_encoder", lambda model: model.graph.node.pop())
    with pytest.raises(BundleError, match=r"text_encoder\.onnx must have the SHA-256"):
        recommender.add_items(NEW, titles=TITLES, tags=TAGS, texts=TEXTS)
    assert len(recommender.items) == len(MADE.ids)
    shutil.rmtree(copy)
    with pytest.raises(BundleError, match=r"text_encoder\.onnx must be readable"):
        recommender.add_items(NEW, tags=TAGS)
    recommender.query([], "comedy")


def test_a_reload_reads_texts_again_where_that_can_be_done(tmp_path):
    recommender = Recommender(GOLDEN / "v7")
    recommender.add_items([*NEW, "mute"], titles=[*TITLES, ""], tags=[*TAGS, []], texts=[*TEXTS, ""])
    before = told(recommender)
    assert recommender.reload().added == (*NEW, "mute")
    assert told(recommender) == before
    carried = recommender.reload(GOLDEN / "v6")  # an item that its text alone gave a place has none there
    assert (carried.added, carried.lost) == (("first", "third", "mute"), ("second",))
    expected = Recommender(GOLDEN / "v6")
    kept, titles, tags = ["first", "third", "mute"], [TITLES[0], TITLES[2], ""], [TAGS[0], TAGS[2], []]
    expected.add_items(kept, titles=titles, tags=tags)
    assert told(recommender) == told(expected)
    assert recommender.reload(GOLDEN / "v7").added == tuple(kept)
    back = Recommender(GOLDEN / "v7")
    back.add_items(kept, titles=titles, tags=tags, texts=[TEXTS[0], TEXTS[2], ""])
    assert told(recommender) == told(back)


def test_another_text_encoder_leaves_vectors_what_they_mean(copy, tmp_path):
    recommender = Recommender(copy)
    recommender.add_items(["x"], vectors=np.ones((1, MADE.vectors.shape[1]), np.float32))
    damaged_bundle.edit_graph(copy, "text_encoder", lambda model: setattr(model, "producer_name", "another"))
    assert recommender.reload().added == ("x",)


def drop(manifest: dict, *keys: str) -> None:
    *before, last = keys
    for key in before:
        manifest = manifest[key]
    del manifest[last]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda m: drop(m, "dims", "text"), "must have the key 'text'"),
        (lambda m: m["dims"].update(text=0), "text must be an integer from 1"),
        (lambda m: m["dims"].update(text=m["dims"]["side"] + 1), "text must be at most side = 6; got 7"),
        (
            lambda m: m["dims"].update(text=3),
            r"outputs: place must be float32 \(B, 3\); got float32 \(B, 2\)",
        ),
        (lambda m: drop(m, "limits", "text_tokens"), "must have the key 'text_tokens'"),
        (lambda m: m["limits"].update(text_tokens=0), "text_tokens must be an integer from 1"),
        (lambda m: drop(m, "text_encoder"), "must have the key 'text_encoder'"),
        (
            lambda m: m["text_encoder"].update(precision="int4"),
            "precision must be one of 'fp32', 'int8'; got 'int4'",
        ),
        (lambda m: m["text_encoder"].update(base=""), "base must be"),
        (lambda m: m.update(format_version=6), "graphs must be an object with exactly the keys backbone, "),
        (lambda m: drop(m, "graphs", "text_encoder", "outputs"), "must have the key 'outputs'"),
        (
            lambda m: m["graphs"]["text_encoder"]["outputs"][0].update(dtype="int64"),
            r"place must be float32 \(B, 2\); got int64",
        ),
        (
            lambda m: m["graphs"]["text_encoder"]["inputs"].pop(),
            "inputs must be input_ids, attention_mask; got",
        ),
        (
            lambda m: m["graphs"]["text_encoder"].update(file="elsewhere.onnx"),
            "file must be a file that the manifest",
        ),
    ],
)
def test_what_the_manifest_must_say_of_a_text_encoder(copy, edit, message):
    tiny_bundle.edit_manifest(copy, edit)
    with pytest.raises(BundleError, match=message):
        Recommender(copy)


def test_a_text_encoder_that_is_missing_or_damaged(copy):
    content = (copy / "text_encoder.onnx").read_bytes()
    (copy / "text_encoder.onnx").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BundleError, match=r"text_encoder\.onnx must have the SHA-256"):
        Recommender(copy)
    (copy / "text_encoder.onnx").unlink()
    with pytest.raises(BundleError, match=r"text_encoder\.onnx must be in the bundle"):
        Recommender(copy)


def test_a_graph_that_is_not_what_the_manifest_says_of_it(copy):
    """Told when it is opened: by the first text, by full verification, and by a reload."""
    shutil.copyfile(copy / "backbone.onnx", copy / "text_encoder.onnx")
    tiny_bundle.reseal(copy)
    recommender, message = (
        Recommender(copy),
        r"text_encoder\.onnx: inputs must be input_ids, attention_mask; got items",
    )
    with pytest.raises(BundleError, match=message):
        recommender.add_items(NEW, tags=TAGS, texts=TEXTS)
    with pytest.raises(BundleError, match=message):
        Recommender(copy, verify="full")
    with pytest.raises(BundleError, match=message):
        Recommender(GOLDEN / "v6").reload(copy)


def test_a_graph_that_fails_or_gives_no_number_adds_nothing(copy):
    def spoil(model: onnx.ModelProto) -> None:
        (table,) = (tensor for tensor in model.graph.initializer if tensor.name == "words")
        values = np.full(table.dims, np.nan, np.float32)
        table.CopyFrom(onnx.numpy_helper.from_array(values, "words"))

    damaged_bundle.edit_graph(copy, "text_encoder", spoil)
    recommender = Recommender(copy)
    with pytest.raises(QueryError, match=r"the items cannot be added: .*nan"):
        recommender.add_items(NEW, tags=TAGS, texts=TEXTS)
    assert len(recommender.items) == len(MADE.ids)
    shutil.rmtree(copy)
    shutil.copytree(GOLDEN / "v7", copy)
    damaged_bundle.break_graph(copy, "text_encoder")
    with pytest.raises(EngineError, match="text_encoder failed to run"):
        Recommender(copy, verify="full")


def test_older_bundles_have_none():
    for version in (1, 4, 6):
        manifest = Recommender(GOLDEN / f"v{version}").manifest
        assert (manifest.text_encoder, manifest.text_token_limit, manifest.dims.text) == (None, 0, 0)
    manifest = Recommender(GOLDEN / "v7").manifest
    assert (manifest.text_encoder, manifest.text_token_limit) == (("made by hand", "fp32"), 9)
    assert json.loads((GOLDEN / "v7" / "manifest.json").read_text())["dims"]["text"] == generate.TEXT
