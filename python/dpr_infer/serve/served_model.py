# The model that serves: opening a bundle, warming it up, and putting another one in its place while queries run.

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from dpr_infer.errors import BundleError
from dpr_infer.manifest import MANIFEST_NAME, Manifest
from dpr_infer.recommender import Recommender
from dpr_infer.serve.answers import ModelRef
from dpr_infer.serve.settings import Settings
from dpr_infer.where_filters import WhereFilters

_VERSION_DIGITS = 12
_LONGEST_NAME = 100
_WARM_PROMPT = "something to warm up with"
_WARM_K = (10, 1000)


@dataclass(frozen=True, slots=True)
class OpenModel:
    """One opened bundle; it never changes.

    Attributes
    ----------
    name : str
        The data set's name, as the manifest has it, or else the folder's; letters, digits, and . _ - alone.
    version : str
        First 12 hexadecimal digits of the SHA-256 of the manifest, which has the checksums of everything else.
    recommender : Recommender
        What answers.
    filters : WhereFilters
        Reads tag expressions; those seen lately are not read again.
    tags : frozenset of str
        Names of the tags.
    """

    name: str
    version: str
    recommender: Recommender
    filters: WhereFilters
    tags: frozenset[str]

    @property
    def ref(self) -> ModelRef:
        """What answers say of the model."""
        return ModelRef(name=self.name, version=self.version)

    def check_where(self, text: str) -> None:
        """Raise WhereError if a tag expression can't be used with this bundle."""
        self.filters.tag_filter(text, 1)


class ServedModel:
    """The model that serves now.

    `current` is read once a request: whoever goes on with that one is not disturbed by a reload, and the model
    before lives as long as somebody uses it.

    Parameters
    ----------
    settings : Settings
        The bundle's folder, and how to open it.

    Raises
    ------
    DprError
        If it can't be opened.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._reloading = Lock()
        self.current = open_model(settings)

    @property
    def name(self) -> str:
        """Name of the model that serves now."""
        return self.current.name

    @property
    def version(self) -> str:
        """Version of the model that serves now."""
        return self.current.version

    @property
    def recommender(self) -> Recommender:
        """The recommender that serves now."""
        return self.current.recommender

    def warm(self) -> None:
        """Answer a few queries, so that the first client need not wait. Takes seconds; blocks."""
        warm_model(self.current, self._settings.max_batch)

    def reload(self) -> tuple[OpenModel, OpenModel]:
        """Open the bundle's folder anew and, if that one is whole and answers, let it serve. Takes seconds; blocks.

        Returns
        -------
        previous, current : OpenModel
            The model of before and that of now.

        Raises
        ------
        DprError
            If the folder has no bundle that can serve; the model of before goes on serving.
        """
        with self._reloading:
            model = open_model(self._settings)
            warm_model(model, self._settings.max_batch)
            previous, self.current = self.current, model
            return previous, model


def open_model(settings: Settings) -> OpenModel:
    """Open the bundle that the settings name.

    Parameters
    ----------
    settings : Settings
        The folder, and how to open it.

    Returns
    -------
    OpenModel
        The opened bundle.

    Raises
    ------
    DprError
        As `Recommender` does.
    """
    folder = Path(settings.bundle)
    before = _manifest_digest(folder)
    recommender = Recommender(
        folder,
        threads=settings.threads,
        engine=settings.engine,
        providers=settings.provider or None,
        allow_fallback=settings.allow_fallback,
        precision=settings.precision,
        prompt_cache_size=settings.prompt_cache_size,
        verify=settings.verify,
        index=settings.index,
    )
    if _manifest_digest(folder) != before:
        raise BundleError(f"{folder} must not change while it is opened; it did")
    manifest = recommender.manifest
    filters = WhereFilters(manifest.tags, manifest.dims.tag_words)
    return OpenModel(_name(manifest, folder), before, recommender, filters, frozenset(manifest.tags))


def _name(manifest: Manifest, folder: Path) -> str:
    """Return a name that is the same in an address and in a label as it is here."""
    named = manifest.made_by.get("dataset")
    name = named if isinstance(named, str) and named else folder.resolve().name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:_LONGEST_NAME].strip("-.") or "model"


def _manifest_digest(folder: Path) -> str:
    try:
        content = (folder / MANIFEST_NAME).read_bytes()
    except OSError as error:
        raise BundleError(
            f"{folder} must be a bundle, with a {MANIFEST_NAME}; it can't be read: {error.strerror}"
        ) from None
    return hashlib.sha256(content).hexdigest()[:_VERSION_DIGITS]


def warm_model(model: OpenModel, max_batch: int) -> None:
    """Answer queries of every kind and of batch sizes up to `max_batch`; raises DprError if one fails."""
    recommender = model.recommender
    history = _longest_example(recommender)
    size = 1
    while size <= max_batch:
        for prompts in (None, _WARM_PROMPT):
            for k in _WARM_K:
                recommender.query_batch([history] * size, prompts, k)
        recommender.query_batch([[]] * size, [["something", _WARM_PROMPT]] * size, steer="strict")
        size *= 2


def _longest_example(recommender: Recommender) -> Sequence[str]:
    limit = recommender.manifest.history_limit
    longest = max(recommender.examples.values(), key=len, default=())
    some = list(longest) or recommender.items.ids[:1]
    return (some * (limit // len(some) + 1))[:limit]
