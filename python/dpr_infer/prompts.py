# Reads prompts: text -> tokens -> token vectors and wishes, kept by text. All of it depends on the prompt
# alone. Of several turns each is read by itself; turns.py says what they mean together.

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dpr_infer.engine import Engine
from dpr_infer.errors import EngineError, QueryError
from dpr_infer.exact_turns import exact_reading
from dpr_infer.manifest import Manifest
from dpr_infer.prompt_cache import PromptCache
from dpr_infer.prompt_encoding import TOGETHER, Outputs, PromptEncoding
from dpr_infer.prompt_reading import PromptReading, WishRule
from dpr_infer.prompt_text import Prompt, Role, Turn, as_turns, check_prompt, check_turns, spoken
from dpr_infer.prompt_tokenizer import PromptTokenizer
from dpr_infer.start_over import last_start_over
from dpr_infer.stopwatch import Stopwatch
from dpr_infer.turns import merge_turns

# The turns of a prompt to look up, exact ones as pairs of tag and role.
_Key = tuple[str | tuple[tuple[str, Role], ...], ...]
# Readings of texts that no cache has yet.
NewReadings = Mapping[str, PromptReading]
NOTHING_NEW: NewReadings = {}


class PromptReader:
    """Tokenises and encodes prompts. A reading never depends on what is read beside it.

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
        Most texts to keep, and most prompts of several turns or exact ones.
    prepare : callable
        Adds to the reading of a whole prompt what is worth keeping with it.

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
        prepare: Callable[[PromptReading], PromptReading],
    ) -> None:
        self._tokenizer = PromptTokenizer(tokenizer, manifest.prompt_token_limit)
        self._encoding = PromptEncoding(engine, tag_embeddings)
        self._rule = WishRule(manifest.tags, manifest.wish_threshold, manifest.dims.tag_words)
        self._token_limit = manifest.prompt_token_limit
        self._token_width = manifest.dims.token
        self._nothing = np.zeros(len(manifest.tags), dtype=np.float32)
        self._prepare = prepare
        # A text may be a whole prompt and part of many. It is kept once: two caches in which it grows old at different
        # rates would hold two sets of prompts. One that was a whole prompt is kept with what was prepared for it.
        self._texts: PromptCache[str, PromptReading] = PromptCache(cache_size)
        self._others: PromptCache[_Key, PromptReading] = PromptCache(cache_size)

    def read(
        self, prompt: Prompt | None, watch: Stopwatch, new: NewReadings = NOTHING_NEW
    ) -> tuple[PromptReading | None, bool]:
        """Read a prompt.

        Parameters
        ----------
        prompt : str, mapping of str to str, sequence of them, or None
            The turn, or the turns. None, no turn, and a text that is blank or has no token are neutral.
        watch : Stopwatch
            Books the steps "tokenise" and "encode_prompt".
        new : mapping of str to PromptReading
            What `read_new` read.

        Returns
        -------
        reading : PromptReading or None
            None for a neutral prompt.
        cached : bool
            Whether the reading, or that of every turn that was read, was kept from an earlier call.

        Raises
        ------
        QueryError
            If the prompt is none of these, names a tag that the bundle does not have, is too long, or holds
            lone surrogates or control characters.
        EngineError
            If the tokenizer or the encoder fails, or gives numbers that are not finite.
        """
        if prompt is None:
            return None, False
        if isinstance(prompt, str):
            reading, cached = self._read_text(prompt, watch, new)
            if reading is None or reading.share is not None:
                return reading, cached
            reading = self._prepared(reading, watch)
            self._texts.put(prompt, reading)
            return reading, cached
        turns = check_turns(prompt)
        key = _key(turns)
        kept = self._others.get(key)
        if kept is not None:
            return kept, True
        reading, cached = self._read_turns(turns, watch, new)
        if reading is None:
            return None, False
        if reading.share is None:  # a text that was a whole prompt before has it
            reading = self._prepared(reading, watch)
        self._others.put(key, reading)
        return reading, cached

    def read_new(self, prompts: Iterable[Prompt | None], watch: Stopwatch) -> NewReadings:
        """Read the texts of several prompts that no cache has, those of one length together.

        Parameters
        ----------
        prompts : iterable of prompts
            As for `read`; what can't be read is passed over, for `read` tells of it.
        watch : Stopwatch
            Books the steps "tokenise" and "encode_prompt".

        Returns
        -------
        mapping of str to PromptReading
            Readings by text, bit for bit those of `read`; empty where there are too few to gain by it.
        """
        texts = dict.fromkeys(text for prompt in prompts for text in self._new_texts(prompt))
        if len(texts) < min(TOGETHER):
            return NOTHING_NEW
        try:
            watch.skip()
            tokenised = {text: self._tokenizer.encode(text) for text in texts}
            watch.lap("tokenise")
            tokenised = {text: (ids, cut) for text, (ids, cut) in tokenised.items() if ids}
            outputs = self._encoding.all([tuple(ids) for ids, _ in tokenised.values()])
            readings = {
                text: self._reading(output, truncated=cut)
                for (text, (_, cut)), output in zip(tokenised.items(), outputs, strict=True)
            }
            watch.lap("encode_prompt")
        except EngineError:
            return NOTHING_NEW  # read alone, the one at fault fails alone
        return readings

    def _new_texts(self, prompt: Prompt | None) -> list[str]:
        """Return the texts of a prompt that the encoder would be run for."""
        if prompt is None or (isinstance(prompt, str) and prompt in self._texts):
            return []
        try:
            turns = (prompt,) if isinstance(prompt, str) else check_turns(prompt)
            turns = turns[last_start_over(turns) :]
            texts = [turn if isinstance(turn, str) else spoken(turn) for turn in turns]
            texts = [text for text in texts if text not in self._texts and text and not text.isspace()]
            for text in texts:
                check_prompt(text)
        except QueryError:
            return []
        return texts

    def forget(self) -> None:
        """Empty the cache."""
        self._texts.clear()
        self._others.clear()

    def knows(self, prompt: Prompt | None) -> bool:
        """Tell whether the encoder would be spared: the prompt is neutral, or the text of each turn is in the cache.

        Parameters
        ----------
        prompt : str, mapping of str to str, sequence of them, or None
            A prompt that can be read; of another, the answer may be either.

        Returns
        -------
        bool
            Whether reading it is cheap.
        """
        texts = (turn if isinstance(turn, str) else spoken(turn) for turn in as_turns(prompt))
        return all(text in self._texts or not text or text.isspace() for text in texts)

    def _read_turns(
        self, turns: Sequence[Turn], watch: Stopwatch, new: NewReadings
    ) -> tuple[PromptReading | None, bool]:
        readings, all_cached = [], True
        for turn in turns[last_start_over(turns) :]:
            reading, cached = (
                self._read_text(turn, watch, new)
                if isinstance(turn, str)
                else self._read_exact(turn, watch, new)
            )
            if reading is not None:
                readings.append(reading)
                all_cached = all_cached and cached
        if not readings:
            return None, False
        return merge_turns(readings, self._rule, self._token_limit), all_cached

    def _read_exact(
        self, turn: Mapping[str, Role], watch: Stopwatch, new: NewReadings
    ) -> tuple[PromptReading, bool]:
        text = spoken(turn)
        said, cached = self._read_text(text, watch, new)
        return exact_reading(turn, said, self._rule, self._token_width), cached or not text

    def _read_text(self, text: str, watch: Stopwatch, new: NewReadings) -> tuple[PromptReading | None, bool]:
        kept = self._texts.get(text)
        if kept is not None:
            return kept, True
        reading = new.get(text)
        if reading is None:
            reading = self._read_alone(text, watch)
        if reading is not None:
            self._texts.put(text, reading)
        return reading, False

    def _read_alone(self, prompt: str, watch: Stopwatch) -> PromptReading | None:
        check_prompt(prompt)
        if not prompt or prompt.isspace():
            return None
        watch.skip()
        ids, truncated = self._tokenizer.encode(prompt)
        watch.lap("tokenise")
        if not ids:
            return None
        reading = self._reading(self._encoding.alone(tuple(ids)), truncated=truncated)
        watch.lap("encode_prompt")
        return reading

    def _prepared(self, reading: PromptReading, watch: Stopwatch) -> PromptReading:
        watch.skip()
        reading = self._prepare(reading)
        watch.lap("encode_prompt")
        return reading

    def _reading(self, outputs: Outputs, *, truncated: bool) -> PromptReading:
        """Return the reading of a prompt for which the encoder gave this, a batch of one."""
        tokens, wish, *more = outputs
        # Formats before version 3 do not say what a prompt takes back.
        released = more[0] if more else self._nothing[None]
        if not (np.isfinite(tokens).all() and np.isfinite(wish).all() and np.isfinite(released).all()):
            raise EngineError("prompt_encoder must give finite numbers; got NaN or an infinity")
        return self._rule.reading(tokens[0], wish[0], released[0], truncated=truncated)


def _key(turns: Sequence[Turn]) -> _Key:
    return tuple(turn if isinstance(turn, str) else tuple(turn.items()) for turn in turns)
