# A trained prompt encoder as one small file: what survives packing, and what is refused when it is opened.

from __future__ import annotations

import io
import lzma
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save
from transformers import BertConfig, BertModel

from dpr_train import encoder_package
from dpr_train.config import PromptEncoderConfig
from dpr_train.encoder_package import (
    PackageError,
    pack_prompt_encoder,
    shipped_prompt_encoder,
    unpack_prompt_encoder,
)
from dpr_train.prompt_encoder import (
    HEAD_FILE,
    PromptEncoder,
    build_prompt_encoder,
    load_tokenizer,
    save_prompt_encoder,
    tokenize,
)
from dpr_train.weight_codes import round_embeddings

CONFIG = PromptEncoderConfig(max_tokens=16, head_dim=24, layers=2, tuned_layers=1)
WEIGHTS = ("model.safetensors", HEAD_FILE)
WORDS = "embeddings.word_embeddings.weight"
TEXTS = ["comedy", "no horror please", "something funny but no war films"]


@pytest.fixture(scope="module")
def folder(encoder_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prompt encoder, as wide as a group of the word embeddings' scales. Read only."""
    out = tmp_path_factory.mktemp("packed") / "encoder"
    size = load_tokenizer(encoder_folder, 16).get_vocab_size()
    config = BertConfig(
        vocab_size=size, hidden_size=64, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=128, max_position_embeddings=32,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = PromptEncoder(BertModel(config, add_pooling_layer=False), CONFIG)
    round_embeddings(encoder)
    encoder.head.lift_above.fill_(-4.0)
    save_prompt_encoder(out, encoder, encoder_folder / "tokenizer.json", {"seed": 3})
    return out


@pytest.fixture(scope="module")
def package(folder: Path) -> Path:
    out = folder.parent / "made" / "english.zip"  # the folder is made, too
    assert pack_prompt_encoder(folder, out) == out.stat().st_size
    return out


def test_a_package_takes_a_byte_a_weight_at_most(folder: Path, package: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    others = sum(tensor.size for name in WEIGHTS for tensor in load_file(folder / name).values())
    others -= weights[WORDS].size
    texts = sum((folder / name).stat().st_size for name in ("config.json", "tokenizer.json", "training.json"))
    assert package.stat().st_size < 0.55 * weights[WORDS].size + others + texts
    assert package.stat().st_size < 0.4 * sum((folder / name).stat().st_size for name in WEIGHTS)


@torch.no_grad()
def test_what_is_unpacked_reads_like_what_was_packed(folder: Path, package: Path, tmp_path: Path) -> None:
    out = unpack_prompt_encoder(package, tmp_path / "encoder")
    assert out == tmp_path / "encoder"
    assert [path.name for path in tmp_path.iterdir()] == ["encoder"]
    assert {path.name for path in out.iterdir()} == {path.name for path in folder.iterdir()}
    for name in ("config.json", "tokenizer.json", "training.json"):
        assert (out / name).read_bytes() == (folder / name).read_bytes()
    for name in WEIGHTS:
        before, after = load_file(folder / name), load_file(out / name)
        assert {k: (v.dtype, v.shape) for k, v in after.items()} == {
            k: (v.dtype, v.shape) for k, v in before.items()
        }
        for key, values in before.items():
            # Half a step of 63 a row, and what scales and vectors lose as float16.
            bound = np.abs(values).max(-1, keepdims=True) * (0.5 / 63 + 2.0**-10) if values.ndim else 2e-2
            assert (np.abs(after[key] - values) <= bound).all(), key
    # Rounded before, so nothing is lost here.
    np.testing.assert_array_equal(
        load_file(out / "model.safetensors")[WORDS], load_file(folder / "model.safetensors")[WORDS]
    )
    was, now = (build_prompt_encoder(CONFIG, f).eval() for f in (folder, out))
    assert now.head.lift_above == -4.0
    ids, mask = map(torch.from_numpy, tokenize(load_tokenizer(out, 16), TEXTS))
    tags = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    for got, expected in zip(now(ids, mask, tags), was(ids, mask, tags), strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=0.15)


def test_packing_what_was_unpacked_changes_nothing(folder: Path, package: Path, tmp_path: Path) -> None:
    once = unpack_prompt_encoder(package, tmp_path / "once")
    pack_prompt_encoder(once, tmp_path / "again.zip")
    twice = unpack_prompt_encoder(tmp_path / "again.zip", tmp_path / "twice")
    for path in once.iterdir():
        assert (twice / path.name).read_bytes() == path.read_bytes(), path.name


def test_the_same_folder_gives_the_same_bytes(folder: Path, package: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(folder, tmp_path / "elsewhere"))
    for path in copied.iterdir():
        path.touch()
    pack_prompt_encoder(copied, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == package.read_bytes()


def test_a_record_may_be_missing(folder: Path, tmp_path: Path) -> None:
    bare = Path(shutil.copytree(folder, tmp_path / "bare"))
    (bare / "training.json").unlink()
    pack_prompt_encoder(bare, tmp_path / "bare.zip")
    out = unpack_prompt_encoder(tmp_path / "bare.zip", tmp_path / "out")
    assert not (out / "training.json").exists()


def rewritten(package: Path, name: str, content: bytes | None) -> bytes:
    """The package with another member in place of ``name``, or without it."""
    new = io.BytesIO()
    with zipfile.ZipFile(package) as old, zipfile.ZipFile(new, "w") as archive:
        for member in old.namelist():
            if member != name:
                archive.writestr(member, old.read(member))
            elif content is not None:
                archive.writestr(member, content)
    return new.getvalue()


def damages(package: Path) -> dict[str, bytes]:
    whole, member = package.read_bytes(), "model.safetensors.xz"
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    return {
        "empty": b"",
        "no zip": b"nothing of the kind",
        "cut off": whole[: len(whole) // 2],
        "a bit flipped": bytes(flipped),
        "member missing": rewritten(package, member, None),
        "member not compressed": rewritten(package, member, b"plain"),
        "member cut off": rewritten(package, member, lzma.compress(bytes(1000))[:40]),
        "no tensors": rewritten(package, member, lzma.compress(b"torn")),
        "no scales": rewritten(package, member, lzma.compress(save({"x.codes": np.zeros((2, 2), np.int8)}))),
    }


@pytest.mark.parametrize(
    "damage",
    [
        *("empty", "no zip", "cut off", "a bit flipped", "member missing", "member not compressed"),
        *("member cut off", "no tensors", "no scales"),
    ],
)
def test_a_damaged_file_is_refused_and_leaves_nothing(package: Path, tmp_path: Path, damage: str) -> None:
    file = tmp_path / "damaged.zip"
    file.write_bytes(damages(package)[damage])
    kept = tmp_path / "encoder"
    kept.mkdir()
    (kept / "note").write_text("as it was", encoding="utf-8")
    with pytest.raises(PackageError, match=r"damaged\.zip: expected a packed prompt encoder, got "):
        unpack_prompt_encoder(file, kept)
    with pytest.raises(PackageError, match="the package: expected a packed prompt encoder, got "):
        unpack_prompt_encoder(file.read_bytes(), kept)
    assert {path.name for path in tmp_path.iterdir()} == {"damaged.zip", "encoder"}
    assert (kept / "note").read_text(encoding="utf-8") == "as it was"


def test_the_shipped_one_is_unpacked_once(
    folder: Path, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped, cache = tmp_path / "dpr_train", tmp_path / "cache"
    (shipped / "prompt_encoders").mkdir(parents=True)
    file = Path(shutil.copy(package, shipped / "prompt_encoders" / "english.zip"))
    monkeypatch.setattr(encoder_package, "files", lambda name: tmp_path / name)
    first = shipped_prompt_encoder(cache)
    assert first.parent == cache
    assert load_file(first / HEAD_FILE)["lift_above"] == -4.0
    (first / "note").touch()
    assert shipped_prompt_encoder(cache) == first
    assert (first / "note").exists()  # it was not unpacked again
    # Another one ships: it goes beside the first.
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    (other / "training.json").unlink()
    pack_prompt_encoder(other, file)
    second = shipped_prompt_encoder(cache)
    assert second.parent == cache
    assert second != first
    assert (first / "note").exists()
    assert not (second / "training.json").exists()
