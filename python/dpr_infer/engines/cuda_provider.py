# onnxruntime's CUDA provider. Left to itself it rounds the factors of float32 products to ten bits, which moved scores
# by half a percent on an H100.

from __future__ import annotations

from collections.abc import Sequence

from dpr_infer.engine import Provider
from dpr_infer.engines.providers import provider_name

CUDA = "CUDAExecutionProvider"


def with_full_precision(providers: Sequence[Provider]) -> list[Provider]:
    """Keep the CUDA provider from computing float32 products in TF32, unless its options say otherwise.

    Parameters
    ----------
    providers : sequence
        Checked providers. Options that are given with a name win.

    Returns
    -------
    list of provider
        The same providers in the same order.
    """
    completed: list[Provider] = []
    for entry in providers:
        if provider_name(entry) == CUDA:
            given = entry[1] if isinstance(entry, tuple) else {}
            entry = (CUDA, {"use_tf32": 0} | given)
        completed.append(entry)
    return completed
