# A Hugging Face encoder and the understanding head on top. The tokenizer is tokenizers' own, the one that is deployed.
"""The prompt encoder: text -> tokens and wishes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Encoding, Tokenizer
from torch import Tensor, nn

from dpr_train.config import PromptEncoderConfig
from dpr_train.devices import device_of, tensors_on
from dpr_train.understanding import Understanding, UnderstandingHead

__all__ = [
    "HEAD_FILE",
    "PromptEncoder",
    "build_prompt_encoder",
    "is_trained",
    "layers_of",
    "load_tokenizer",
    "pad_encodings",
    "save_prompt_encoder",
    "tokenize",
]

HEAD_FILE = "understanding.safetensors"  # beside the encoder's weights where the head has been trained


class PromptEncoder(nn.Module):
    """Encoder and head; everything that depends on the prompt alone.

    Parameters
    ----------
    encoder : nn.Module
        Hugging Face encoder; called with ``input_ids`` and ``attention_mask``.
    config : PromptEncoderConfig
        Width of the head, and how many layers training may change.
    """

    def __init__(self, encoder: nn.Module, config: PromptEncoderConfig) -> None:
        super().__init__()
        self.encoder = encoder
        self.config = config
        self.token_dim = int(encoder.config.hidden_size)  # type: ignore[union-attr, arg-type]
        self.head = UnderstandingHead(self.token_dim, config.head_dim)

    def tokens(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Contextual tokens: int64 (B, T) twice -> float32 (B, T, p)."""
        return self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, tag_embeddings: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """``tokens`` float32 (B, T, p), ``wish`` float32 (B, G, 2) and ``released`` float32 (B, G) of a batch."""
        tokens = self.tokens(input_ids, attention_mask)
        understood = self.head(tokens, attention_mask, tag_embeddings)
        return tokens, understood.wish, understood.released

    def understand(self, input_ids: Tensor, attention_mask: Tensor, tag_embeddings: Tensor) -> Understanding:
        """The head's whole answer, for training."""
        return self.head(self.tokens(input_ids, attention_mask), attention_mask, tag_embeddings)

    def embed_names(self, tokenizer: Tokenizer, names: Sequence[str]) -> Tensor:
        """Embeddings of tags' names, float32 (G, p): the mean of the tokens of the name read as a prompt."""
        ids, mask = tokenize(tokenizer, names)
        read, real = tensors_on(device_of(self), ids, mask)
        tokens = self.tokens(read, real)
        weight = real[..., None].to(tokens.dtype)
        return (tokens * weight).sum(1) / weight.sum(1)

    def freeze_lower_layers(self) -> None:
        """Let training change the head and the topmost ``tuned_layers`` layers of the encoder only."""
        self.encoder.requires_grad_(False)
        layers = self.encoder.encoder.layer  # type: ignore[union-attr]
        count = self.config.tuned_layers
        if count > len(layers):  # type: ignore[arg-type]
            raise ValueError(f"tuned_layers is {count}; the encoder has {len(layers)} layers")  # type: ignore[arg-type]
        for layer in list(layers)[len(layers) - count :]:  # type: ignore[arg-type]
            layer.requires_grad_(True)


def is_trained(folder: Path) -> bool:
    """Whether a folder holds an understanding head beside the encoder: stage 2 is behind it."""
    return (folder / HEAD_FILE).is_file()


def layers_of(folder: Path) -> int:
    """How many layers the encoder in a folder has, by its ``config.json``."""
    path = folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: expected a Hugging Face encoder with config.json, got none")
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["num_hidden_layers"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: expected num_hidden_layers, got {error!r}") from error


def build_prompt_encoder(config: PromptEncoderConfig, folder: Path) -> PromptEncoder:
    """Make a prompt encoder from a local Hugging Face folder, with the trained head that may lie there.

    Parameters
    ----------
    config : PromptEncoderConfig
        Sizes.
    folder : Path
        Holds ``config.json`` and ``model.safetensors``.

    Raises
    ------
    FileNotFoundError
        If a needed file is missing; names it.
    ValueError
        If the encoder is not of BERT's kind, lacks weights, or is too short for ``max_tokens``.
    """
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder}: expected a Hugging Face encoder with {name}, got none")
    kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    if kind != "bert":
        # The layers to tune are found by their place in BERT's module tree.
        raise ValueError(
            f"{folder}: model_type expected 'bert' (MiniLM, BERT, BGE, E5, GTE small...), got {kind!r}"
        )
    encoder = _load_bert(folder)
    longest = encoder.config.max_position_embeddings
    if config.max_tokens > longest:
        raise ValueError(f"prompt_encoder.max_tokens is {config.max_tokens}; the encoder takes {longest}")
    _keep_layers(encoder, config.layers, folder)
    prompt_encoder = PromptEncoder(encoder, config)
    if is_trained(folder):
        _load_head(prompt_encoder, folder / HEAD_FILE)
    return prompt_encoder


def _keep_layers(encoder: Any, count: int, folder: Path) -> None:
    layers = encoder.encoder.layer
    if count > len(layers):
        raise ValueError(f"{folder}: prompt_encoder.layers is {count}; the encoder has {len(layers)}")
    encoder.encoder.layer = nn.ModuleList(list(layers)[:count])
    encoder.config.num_hidden_layers = count


def _load_head(encoder: PromptEncoder, path: Path) -> None:
    try:
        encoder.head.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: expected a head of prompt_encoder.head_dim, got {reason}") from error


def _load_bert(folder: Path) -> Any:
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    weights = folder / "model.safetensors"
    try:
        encoder, loading = transformers.BertModel.from_pretrained(
            folder,
            add_pooling_layer=False,  # nothing reads it
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            attn_implementation="sdpa",
            dtype=torch.float32,
            output_loading_info=True,
        )
    except SafetensorError as error:
        raise ValueError(f"{weights}: expected safetensors, got {error}") from error
    missing = sorted(loading["missing_keys"])
    if missing:  # transformers would go on with random weights in their place
        raise ValueError(f"{weights}: expected all weights of the encoder, got none for {missing}")
    return encoder


def load_tokenizer(folder: Path, max_tokens: int) -> Tokenizer:
    """Read ``tokenizer.json``, set to cut after ``max_tokens`` tokens (special ones included) and never to pad."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: expected a fast tokenizer in tokenizer.json, got none")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises nothing more precise
        raise ValueError(f"{path}: expected a fast tokenizer, got {error}") from error
    tokenizer.enable_truncation(max_tokens)
    tokenizer.no_padding()
    return tokenizer


def tokenize(tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """``input_ids`` and ``attention_mask`` int64 (B, T), padded on the right with 0 to the longest text."""
    return pad_encodings(tokenizer.encode_batch(list(texts)))


def pad_encodings(encodings: Sequence[Encoding]) -> tuple[np.ndarray, np.ndarray]:
    """``input_ids`` and ``attention_mask`` int64 (B, T), padded on the right with 0 to the longest encoding."""
    length = max(len(e.ids) for e in encodings)
    ids = np.zeros((len(encodings), length), dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, encoding in enumerate(encodings):
        ids[row, : len(encoding.ids)] = encoding.ids
        mask[row, : len(encoding.ids)] = 1
    return ids, mask


def save_prompt_encoder(
    folder: Path, encoder: PromptEncoder, tokenizer_file: Path, record: dict[str, Any] | None = None
) -> None:
    """Write a Hugging Face folder with the understanding head beside the encoder.

    Parameters
    ----------
    folder : Path
        Made if missing.
    encoder : PromptEncoder
        Trained.
    tokenizer_file : Path
        Its ``tokenizer.json``.
    record : dict, optional
        Written as ``training.json``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, module in (("model.safetensors", encoder.encoder), (HEAD_FILE, encoder.head)):
        tensors = {k: v.detach().contiguous() for k, v in module.state_dict().items()}
        save_file(tensors, folder / name, {"format": "pt"})
    (folder / "config.json").write_text(encoder.encoder.config.to_json_string(), encoding="utf-8")  # type: ignore[union-attr, operator]
    if tokenizer_file.resolve() != (folder / "tokenizer.json").resolve():
        (folder / "tokenizer.json").write_bytes(tokenizer_file.read_bytes())
    if record is not None:
        text = json.dumps(record, indent=2) + "\n"
        (folder / "training.json").write_text(text, encoding="utf-8")
