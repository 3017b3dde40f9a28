# onnxruntime's own way to TensorRT: the options of its provider that follow from a bundle. It builds its engines when
# a graph is opened, and keeps them in the bundle's folder engines/.

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dpr_infer._optional import import_onnxruntime
from dpr_infer.bundle import ENGINES_FOLDER
from dpr_infer.engine import Provider
from dpr_infer.engines.profiles import Profile, profiles
from dpr_infer.engines.providers import provider_name
from dpr_infer.errors import ProviderError
from dpr_infer.manifest import Manifest

TENSORRT = "TensorrtExecutionProvider"


def with_bundle_options(
    providers: Sequence[Provider], folder: Path, manifest: Manifest, graph: str
) -> list[Provider]:
    """Give the TensorRT provider the options that follow from a bundle, where it is among the providers.

    Parameters
    ----------
    providers : sequence
        Checked providers. Options that are given with a name win.
    folder : Path
        The bundle's folder.
    manifest : Manifest
        Its manifest.
    graph : str
        The graph to be opened.

    Returns
    -------
    list of provider
        The same providers in the same order.

    Raises
    ------
    ProviderError
        If the cache's folder can't be made and no other one was given.
    """
    completed: list[Provider] = []
    for entry in providers:
        if provider_name(entry) == TENSORRT:
            given = entry[1] if isinstance(entry, tuple) else {}
            entry = (TENSORRT, _options(folder, manifest, graph, given))
        completed.append(entry)
    return completed


def _options(folder: Path, manifest: Manifest, graph: str, given: dict[str, Any]) -> dict[str, Any]:
    profile = profiles(manifest, graph)[-1]  # the provider takes one, so the widest
    options: dict[str, Any] = {
        "trt_engine_cache_enable": True,
        # The name of a cached engine holds the graph's own hash, but not what the bundle calls the file.
        "trt_engine_cache_prefix": f"{graph}-{manifest.files[manifest.graphs[graph].file].sha256[:12]}",
        "trt_timing_cache_enable": True,
        "trt_profile_min_shapes": _shapes(profile, "least"),
        "trt_profile_opt_shapes": _shapes(profile, "usual"),
        "trt_profile_max_shapes": _shapes(profile, "greatest"),
    }
    if "trt_engine_cache_path" not in given:
        options["trt_engine_cache_path"] = _cache(folder)
    options["trt_timing_cache_path"] = given.get("trt_engine_cache_path") or options["trt_engine_cache_path"]
    return options | given


def _cache(folder: Path) -> str:
    """Return a folder for this version of onnxruntime, whose engines no other version may read."""
    cache = folder / ENGINES_FOLDER / f"onnxruntime-{import_onnxruntime().__version__}"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ProviderError(
            f"{TENSORRT} keeps its engines in the bundle, and {cache} can't be made: {error.strerror}. Give another "
            f'folder: providers=[("{TENSORRT}", {{"trt_engine_cache_path": ...}})]'
        ) from None
    return str(cache)


def _shapes(profile: Profile, which: str) -> str:
    """Write shapes as the provider reads them: name:1x50,other:1x16."""
    return ",".join(
        f"{name}:{'x'.join(map(str, getattr(limits, which)))}" for name, limits in profile.items()
    )
