# Reads prompts: text -> tokens -> token vectors and wishes, kept by text. All of it depends on the prompt
# alone.

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dpr_infer.engine import Engine
from dpr_infer.errors import BundleError, EngineError, QueryError, QueryTypeError
from dpr_infer.manifest import Manifest
from dpr_infer.prompt_cache import PromptCache
from dpr_infer.stopwatch import Stopwatch
from dpr_infer.types import Wish

# A tokenizer reads a text to its end before it cuts: longer ones would only cost time and room in the cache.
MAX_PROMPT_CHARACTERS = 100_000


@dataclass(frozen=True, slots=True)
class PromptReading:
    """What was read from one prompt.

    Attributes
    ----------
    tokens : ndarray of float32, shape (T, token)
        Token vectors.
    wish : ndarray of float32, shape (G, 2)
        How much each tag is asked for and refused, in [0, 1].
    wishes : tuple of Wish
        Those that reach the bundle's threshold, strongest first.
    refused_words : ndarray of uint64, shape (W,)
        Bitset of the tags whose refusal reaches the threshold.
    truncated : bool
        Whether the prompt had more tokens than are read.
    """

    tokens: NDArray[np.float32]
    wish: NDArray[np.float32]
    wishes: tuple[Wish, ...]
    refused_words: NDArray[np.uint64]
    truncated: bool


class PromptReader:
    """Tokenises and encodes prompts, one by one, so that a reading never depends on what is read beside it.

    Parameters
    ----------
    tokenizer : Path
        A tokenizer.json.
    engine : Engine
        The prompt encoder.
    tag_embeddings : ndarray of float32, shape (G, token)
        Embeddings of the tags' names.
    manifest : Manifest
        The bundle's manifest: limits, tags, threshold.
    cache_size : int
        Most readings to keep.

    Raises
    ------
    BundleError
        If the tokenizer cannot be loaded.
    """

    def __init__(
        self,
        tokenizer: Path,
        engine: Engine,
        tag_embeddings: NDArray[np.float32],
        manifest: Manifest,
        cache_size: int,
    ) -> None:
        from tokenizers import Tokenizer

        try:
            self._tokenizer = Tokenizer.from_file(str(tokenizer))
            self._tokenizer.no_padding()
            self._tokenizer.enable_truncation(manifest.prompt_token_limit)
        except Exception as error:  # the library raises Exception itself
            raise BundleError(
                f"{tokenizer.name} must be a tokenizer of Hugging Face tokenizers: {error}"
            ) from error
        self._engine = engine
        self._tag_embeddings = tag_embeddings
        self._tags = manifest.tags
        self._threshold = manifest.wish_threshold
        self._tag_words = manifest.dims.tag_words
        self._cache: PromptCache[PromptReading] = PromptCache(cache_size)

    def read(self, prompt: str | None, watch: Stopwatch) -> tuple[PromptReading | None, bool]:
        """Read a prompt.

        Parameters
        ----------
        prompt : str or None
            The text. None and a text that is blank or has no token are neutral.
        watch : Stopwatch
            Books the steps "tokenise" and "encode_prompt".

        Returns
        -------
        reading : PromptReading or None
            None for a neutral prompt.
        cached : bool
            Whether the reading was kept from an earlier call.

        Raises
        ------
        QueryError
            If the prompt is not a str, too long, or holds lone surrogates or control characters.
        EngineError
            If the encoder fails or gives numbers that are not finite.
        """
        if prompt is None:
            return None, False
        check_prompt_type(prompt)
        kept = self._cache.get(prompt)
        if kept is not None:
            return kept, True
        check_prompt(prompt)
        if not prompt or prompt.isspace():
            return None, False
        watch.skip()
        encoding = self._tokenizer.encode(prompt)
        watch.lap("tokenise")
        if not encoding.ids:
            return None, False
        reading = self._encode(np.array([encoding.ids], dtype=np.int64), bool(encoding.overflowing))
        watch.lap("encode_prompt")
        self._cache.put(prompt, reading)
        return reading, False

    def _encode(self, input_ids: NDArray[np.int64], truncated: bool) -> PromptReading:
        tokens, wish = self._engine.run(
            {
                "input_ids": input_ids,
                "attention_mask": np.ones_like(input_ids),
                "tag_embeddings": self._tag_embeddings,
            }
        )
        if tokens.shape[:2] != input_ids.shape or wish.shape != (1, len(self._tags), 2):
            raise EngineError(
                f"prompt_encoder must give tokens (1, {input_ids.shape[1]}, *) and "
                f"wish (1, {len(self._tags)}, 2); got {tokens.shape} and {wish.shape}"
            )
        if not (np.isfinite(tokens).all() and np.isfinite(wish).all()):
            raise EngineError("prompt_encoder must give finite numbers; got NaN or an infinity")
        return PromptReading(
            tokens[0], wish[0], self._wishes(wish[0]), self._refused_words(wish[0]), truncated
        )

    def _wishes(self, wish: NDArray[np.float32]) -> tuple[Wish, ...]:
        strength = wish.max(axis=1)
        order = np.argsort(-strength, kind="stable")
        return tuple(
            Wish(self._tags[g], float(wish[g, 0]), float(wish[g, 1]))
            for g in order.tolist()
            if strength[g] >= self._threshold
        )

    def _refused_words(self, wish: NDArray[np.float32]) -> NDArray[np.uint64]:
        words = np.zeros(self._tag_words, dtype=np.uint64)
        for g in np.flatnonzero(wish[:, 1] >= self._threshold).tolist():
            words[g // 64] |= np.uint64(1 << g % 64)
        return words


def check_prompt_type(prompt: object) -> None:
    """Refuse a prompt that is not a str, by QueryTypeError."""
    if not isinstance(prompt, str):
        raise QueryTypeError(f"prompt must be a str or None; got {type(prompt).__name__}")


def check_prompt(prompt: str) -> None:
    """Refuse a text that no prompt encoder can read.

    Parameters
    ----------
    prompt : str
        The text.

    Raises
    ------
    QueryError
        If it is longer than 100000 characters, or holds a lone surrogate or a control character other than
        tab, line feed and carriage return.
    """
    if len(prompt) > MAX_PROMPT_CHARACTERS:
        raise QueryError(f"prompt must have at most {MAX_PROMPT_CHARACTERS} characters; got {len(prompt)}")
    if prompt.isprintable():
        return
    for position, character in enumerate(prompt):
        code = ord(character)
        if 0xD800 <= code <= 0xDFFF:
            raise QueryError(
                f"prompt must be valid Unicode; character {position} is the lone surrogate U+{code:04X}"
            )
        if (code < 0x20 or 0x7F <= code < 0xA0) and character not in "\t\n\r":
            raise QueryError(f"prompt must not hold control characters; character {position} is U+{code:04X}")
