# tokenizer.json of a bundle: loaded and used by Hugging Face tokenizers, whose Rust code may panic on files that were
# forged. A panic is no Exception in Python.

from __future__ import annotations

from pathlib import Path

from dpr_infer.errors import BundleError, EngineError

# The largest in use, of encoders for a hundred languages, have 17 MB.
MAX_TOKENIZER_BYTES = 2**26
_NOT_A_PANIC = (KeyboardInterrupt, SystemExit)


class PromptTokenizer:
    """Cuts texts into tokens.

    Parameters
    ----------
    path : Path
        A tokenizer.json. Padding and truncation that it has set are not used.
    token_limit : int
        Most tokens of a text, special ones included; the first are kept.

    Raises
    ------
    BundleError
        If the file is too large, or none that can be loaded.
    """

    def __init__(self, path: Path, token_limit: int) -> None:
        from tokenizers import Tokenizer

        size = path.stat().st_size
        if size > MAX_TOKENIZER_BYTES:
            raise BundleError(f"{path.name} must have at most {MAX_TOKENIZER_BYTES} bytes; got {size}")
        self._name = path.name
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
            self._tokenizer.no_padding()
            self._tokenizer.enable_truncation(token_limit)
        except _NOT_A_PANIC:
            raise
        except BaseException as error:  # the library raises Exception itself
            raise BundleError(
                f"{path.name} must be a tokenizer of Hugging Face tokenizers: {error}"
            ) from error

    def encode(self, text: str) -> tuple[list[int], bool]:
        """Cut a text.

        Parameters
        ----------
        text : str
            The text.

        Returns
        -------
        ids : list of int
            The tokens; there may be none.
        truncated : bool
            Whether there were more.

        Raises
        ------
        EngineError
            If the tokenizer fails on it.
        """
        try:
            encoding = self._tokenizer.encode(text)
            return encoding.ids, bool(encoding.overflowing)
        except _NOT_A_PANIC:
            raise
        except BaseException as error:
            raise EngineError(f"{self._name} failed to cut a prompt into tokens: {error}") from error
