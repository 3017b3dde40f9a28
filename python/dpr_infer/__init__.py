# dpr_infer: opens a bundle and answers promptable recommendation queries; searches catalogues of bare vectors.

from typing import Any

from dpr_infer._core import SearchCounters, simd_level
from dpr_infer.bundle_extension import extend_bundle
from dpr_infer.catalogue import Catalogue
from dpr_infer.errors import (
    BundleError,
    BundleVersionError,
    DprError,
    EngineError,
    MissingExtraError,
    ProviderError,
    QueryError,
    QueryTypeError,
    UnknownItemError,
    WhereError,
)
from dpr_infer.mixed_queries import Query
from dpr_infer.recommender import Recommender
from dpr_infer.types import CarriedChanges, Recommendation, Wish
from dpr_infer.user_session import UserSession

__all__ = [
    "BundleError",
    "BundleVersionError",
    "CarriedChanges",
    "Catalogue",
    "DprError",
    "EngineError",
    "MissingExtraError",
    "ProviderError",
    "Query",
    "QueryError",
    "QueryTypeError",
    "Recommendation",
    "Recommender",
    "SearchCounters",
    "UnknownItemError",
    "UserSession",
    "WhereError",
    "Wish",
    "extend_bundle",
    "simd_level",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":  # read from the installed metadata only when asked for: it costs file accesses
        from importlib.metadata import version

        return version("dpr-infer")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
