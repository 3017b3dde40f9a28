# A folder that Triton Inference Server serves: each graph a model, and in front of them one that answers queries.
"""Bundle -> Triton model repository."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from dpr_export.errors import ExportError
from dpr_export.triton_config import FRONT, front_config, graph_config, graph_model
from dpr_infer.bundle import check_files, check_hashes, read_manifest
from dpr_infer.bundle_folder import put_in_place
from dpr_infer.engines.profiles import MAX_BATCH
from dpr_infer.graph_contract import query_graphs
from dpr_infer.manifest import MANIFEST_NAME, Manifest

__all__ = ["check_destination", "write_triton"]

_VERSION = "1"
_MODEL = Path(__file__).with_name("triton_model.py")


def write_triton(bundle: Path, out: Path, *, max_batch: int = MAX_BATCH, force: bool = False) -> None:
    """Write a model repository; ``out`` exists afterwards whole, or as it was before.

    Parameters
    ----------
    bundle : Path
        A whole bundle. It is copied into the repository, but for its folder engines/.
    out : Path
        The repository to make.
    max_batch : int
        Most rows that Triton puts into one batch, >= 1.
    force : bool
        Replace a repository that stands at ``out``.

    Raises
    ------
    BundleError
        If the bundle is not whole.
    ExportError
        If ``out`` is taken.
    """
    manifest = read_manifest(bundle)
    check_files(bundle, manifest)
    check_hashes(bundle, manifest, None)
    check_destination(out, force=force)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as holder:
        folder = Path(holder) / "repository"
        folder.mkdir()
        _fill(folder, bundle, manifest, max_batch)
        put_in_place(folder, out, Path(holder) / "replaced")


def check_destination(out: Path, *, force: bool) -> None:
    """Raise ExportError if a repository may not be written to ``out``."""
    if not out.exists():
        return
    if not (out / FRONT / "config.pbtxt").is_file():
        raise ExportError(
            f"{out}: expected a new folder, or a model repository to replace; got something else, left untouched"
        )
    if not force:
        raise ExportError(
            f"{out}: expected a new folder, got an existing model repository; --force replaces it"
        )


def _fill(folder: Path, bundle: Path, manifest: Manifest, max_batch: int) -> None:
    for name in query_graphs(manifest):
        place = _model(folder, graph_model(name), graph_config(manifest, name))
        shutil.copyfile(bundle / manifest.graphs[name].file, place / "model.onnx")
    place = _model(folder, FRONT, front_config(max_batch))
    shutil.copyfile(_MODEL, place / "model.py")
    (place / "bundle").mkdir()
    for file in (MANIFEST_NAME, *manifest.files):
        shutil.copyfile(bundle / file, place / "bundle" / file)


def _model(folder: Path, name: str, config: str) -> Path:
    """Make the folder of a model with its configuration, and return that of its only version."""
    place = folder / name / _VERSION
    place.mkdir(parents=True)
    (folder / name / "config.pbtxt").write_text(config, encoding="utf-8")
    return place
