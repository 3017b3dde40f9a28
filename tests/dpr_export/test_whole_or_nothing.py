# A bundle exists whole or not at all, whatever goes wrong on the way, and nothing else is ever replaced.

from __future__ import annotations

import hashlib
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
import torch
from onnx import numpy_helper
from safetensors.torch import load_file, save_file

from dpr_export import validate as validation
from dpr_export import write_bundle
from dpr_export.errors import ExportError, ParityError
from dpr_export.write_bundle import export_bundle
from dpr_infer import Recommender, bundle_folder

pytestmark = pytest.mark.usefixtures("quick")


def content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty folder to export into; what is left in it afterwards is looked at."""
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


def left(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir())


def test_the_quick_exporter_makes_the_same_bundle(sasrec, place):
    """What the other tests of this file rest on."""
    export_bundle(sasrec.folder, place / "bundle")
    assert left(place) == ["bundle"]
    assert content(place / "bundle") == content(sasrec.bundle)


def test_missing_folders_above_are_made(sasrec, place):
    export_bundle(sasrec.folder, place / "a" / "b")
    Recommender(place / "a" / "b", verify="full")


def test_parity_failure_lists_every_row_that_failed(sasrec, place, monkeypatch):
    monkeypatch.setattr(validation, "FP32_BOUND", 0.0)
    monkeypatch.setattr(validation, "SCORE_BOUND", 1e-12)
    with pytest.raises(ParityError) as caught:
        export_bundle(sasrec.folder, place / "bundle")
    lines = str(caught.value).splitlines()[1:]
    graphs, tensors = sasrec.graphs, write_bundle.catalogue_tensors(sasrec.checkpoint.model)
    rows = validation.validate(sasrec.checkpoint, graphs, sasrec.bundle, tensors)
    failed = [row for row in rows if not row.passed]
    assert len(lines) == len(failed) > 5
    for line, row in zip(lines, failed, strict=True):
        assert line.startswith(f"{row.graph} {row.output}, batch {row.batch}, length {row.length}: ")
        assert line.endswith(f"got {row.max_relative_error:.3g}")
    assert left(place) == []


@pytest.mark.parametrize("graph", ["backbone", "prompt_encoder", "fusion_moe"])
def test_a_graph_that_was_tampered_with_is_found(sasrec, place, monkeypatch, graph, quick):
    def tamper(model, folder):
        graphs = quick(model, folder)
        proto = onnx.load(folder / f"{graph}.onnx")
        changed = 0
        for tensor in proto.graph.initializer:
            values = numpy_helper.to_array(tensor)
            if values.dtype == "float32" and values.ndim == 2:
                tensor.CopyFrom(numpy_helper.from_array(values * 1.01, tensor.name))
                changed += 1
        assert changed
        onnx.save(proto, folder / f"{graph}.onnx")
        return graphs

    monkeypatch.setattr(write_bundle, "export_graphs", tamper)
    with pytest.raises(ParityError, match=f"\n{graph} ") as caught:
        export_bundle(sasrec.folder, place / "bundle")
    named = {line.split()[0] for line in str(caught.value).splitlines()[1:]}
    assert named <= {graph, "pipeline"}
    assert left(place) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("file", "tensor"),
    [
        ("model.safetensors", "backbone.item_embedding.weight"),
        ("model.safetensors", "biases"),
        ("model.safetensors", "fusion.norm.weight"),
        ("model.safetensors", "tag_embeddings"),
        ("prompt_encoder/model.safetensors", "encoder.layer.0.output.dense.bias"),
    ],
)
def test_weights_that_are_not_finite_are_named(copy, place, file, tensor, value):
    weights = load_file(copy / file)
    weights[tensor].view(-1)[-1] = value
    save_file(weights, copy / file, {"format": "pt"})
    with pytest.raises(ExportError, match=rf"{tensor}: expected finite weights, got {value} at \["):
        export_bundle(copy, place / "bundle")
    assert left(place) == []


def test_item_vectors_that_overflow_are_named(sasrec):
    model = sasrec.checkpoint.model
    before = model.tag_parts.data.clone()
    try:
        with torch.no_grad():
            model.tag_parts.fill_(3e38)
        with pytest.raises(
            ExportError, match=r"^vectors: expected finite values, got inf in row \d+, column \d+$"
        ):
            write_bundle.catalogue_tensors(model)
    finally:
        model.tag_parts.data.copy_(before)


def test_an_unknown_precision_is_refused(sasrec, place):
    with pytest.raises(ExportError, match="precision: expected one of fp32, int8, got 'fp16'"):
        export_bundle(sasrec.folder, place / "bundle", precision="fp16")


def test_a_bundle_is_replaced_only_when_forced(sasrec, gru4rec, place):
    out = place / "bundle"
    out.mkdir()
    for path in gru4rec.bundle.iterdir():
        (out / path.name).write_bytes(path.read_bytes())
    before = content(out)
    with pytest.raises(
        ExportError, match="expected a new folder, got an existing bundle; --force replaces it"
    ):
        export_bundle(sasrec.folder, out)
    assert content(out) == before
    export_bundle(sasrec.folder, out, force=True)
    assert content(out) == content(sasrec.bundle)
    assert left(place) == ["bundle"]


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    "files",
    [
        {},
        {"notes.txt": "mine"},
        {"manifest.json": '{"format": "web-app"}'},
        {"manifest.json": "{"},
        {"manifest.json": "[]"},
    ],
)
def test_what_is_no_bundle_is_never_replaced(sasrec, place, files, force):
    out = place / "bundle"
    out.mkdir()
    for name, text in files.items():
        (out / name).write_text(text)
    before = content(out)
    with pytest.raises(ExportError, match="left untouched"):
        export_bundle(sasrec.folder, out, force=force)
    assert (out.is_dir(), content(out), left(place)) == (True, before, ["bundle"])


def test_a_file_is_never_replaced(sasrec, place):
    (place / "bundle").write_text("mine")
    with pytest.raises(ExportError, match="left untouched"):
        export_bundle(sasrec.folder, place / "bundle", force=True)
    assert (place / "bundle").read_text() == "mine"


def test_what_appears_while_exporting_is_not_replaced(sasrec, place):
    out = place / "bundle"

    def appear(text: str) -> None:
        if text.startswith("comparing"):
            out.mkdir()
            (out / "notes.txt").write_text("mine")

    with pytest.raises(ExportError, match="left untouched"):
        export_bundle(sasrec.folder, out, force=True, say=appear)
    assert content(out).keys() == {"notes.txt"}
    assert left(place) == ["bundle"]


STEPS = (
    *(
        (write_bundle, name)
        for name in ("export_graphs", "write_catalogue", "validate", "_manifest", "Recommender")
    ),
    *((bundle_folder, name) for name in ("_finish", "put_in_place")),
)


@pytest.mark.parametrize("error", [RuntimeError("out of luck"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step[1])
def test_an_error_in_the_middle_leaves_nothing(sasrec, place, monkeypatch, step, error):
    def fail(*_args, **_options):
        raise error

    monkeypatch.setattr(*step, fail)
    with pytest.raises(type(error)):
        export_bundle(sasrec.folder, place / "bundle")
    assert left(place) == []


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step[1])
def test_an_error_in_the_middle_leaves_the_old_bundle(sasrec, place, monkeypatch, step):
    export_bundle(sasrec.folder, place / "bundle")

    def fail(*_args, **_options):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(*step, fail)
    with pytest.raises(RuntimeError, match="out of luck"):
        export_bundle(sasrec.folder, place / "bundle", force=True)
    assert left(place) == ["bundle"]
    assert content(place / "bundle") == content(sasrec.bundle)


@pytest.mark.parametrize("error", [OSError("no room"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_the_old_bundle_comes_back_when_the_new_one_cannot_be_moved(sasrec, place, monkeypatch, error):
    out = place / "bundle"
    export_bundle(sasrec.folder, out)
    rename = Path.rename

    def fail_to_put(self, target):
        if self.name == "bundle" and self.parent != place:
            raise error
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_to_put)
    with pytest.raises(type(error)):
        export_bundle(sasrec.folder, out, force=True)
    assert left(place) == ["bundle"]
    assert content(out) == content(sasrec.bundle)


# Dies at a step of the export, without a chance to clean up.
_KILLED = """
import os, signal, sys
from pathlib import Path
from dpr_export import write_bundle
from dpr_infer import bundle_folder

checkpoint, out, step = sys.argv[1:]

def die(*args, **options):
    os.kill(os.getpid(), signal.SIGKILL)

setattr(bundle_folder if hasattr(bundle_folder, step) else write_bundle, step, die)
write_bundle.export_bundle(Path(checkpoint), Path(out), force=True)
"""


@pytest.mark.parametrize("over_old", [False, True], ids=["new", "old"])
@pytest.mark.parametrize("step", ["write_catalogue", "validate", "_finish", "put_in_place"])
def test_a_killed_export_leaves_no_bundle_or_the_old_one(sasrec, place, step, over_old):
    out = place / "bundle"
    if over_old:
        shutil.copytree(sasrec.bundle, out)
    done = subprocess.run([sys.executable, "-c", _KILLED, str(sasrec.folder), str(out), step], check=False)
    assert done.returncode == -signal.SIGKILL
    remains = left(place)
    assert [name for name in remains if not name.startswith(".bundle.")] == ["bundle"] * over_old
    if over_old:
        assert content(out) == content(sasrec.bundle)
    export_bundle(sasrec.folder, out, force=True)  # what is left disturbs nobody
    assert content(out) == content(sasrec.bundle)
    assert left(place) == sorted({*remains, "bundle"})
