# What a student learns from a trained prompt encoder beside the labels: its tokens, and how sure it is.
"""The losses of a student that imitates a teacher."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from dpr_train.devices import device_of
from dpr_train.prompt_encoder import PromptEncoder
from dpr_train.understanding import Understanding

__all__ = ["Teacher", "embed_names"]

_NAMES = 32  # tags' names that a step compares
_TOKENS = 3.0  # weight of distances beside the other losses, which are several times as large to begin with


class Teacher:
    """A trained prompt encoder that is not changed.

    Parameters
    ----------
    encoder : PromptEncoder
        Trained.
    tokenizer : Tokenizer
        The teacher's, and the student's.

    References
    ----------
    Hinton et al., "Distilling the Knowledge in a Neural Network", arXiv 1503.02531: soft targets; Jiao et al.,
    "TinyBERT", arXiv 1909.10351: hidden states.
    """

    def __init__(self, encoder: PromptEncoder, tokenizer: Tokenizer) -> None:
        self.encoder = encoder.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self._names: Sequence[str] = ()
        self._embedded = torch.zeros(0, encoder.token_dim, device=device_of(encoder))

    def read_names(self, names: Sequence[str], *, bf16: bool) -> None:
        """Read what the tags of the following steps are called; ``names[g]`` is tag g's."""
        self._names = names
        self._embedded = embed_names(self.encoder, self.tokenizer, names, bf16=bf16)

    def losses(
        self,
        student: PromptEncoder,
        ids: Tensor,
        mask: Tensor,
        tokens: Tensor,
        understood: Understanding,
        tags: Sequence[int],
    ) -> dict[str, Tensor]:
        """How far a student's answer to a batch is from the teacher's, as losses to be added up.

        Parameters
        ----------
        student : PromptEncoder
            In training.
        ids, mask : Tensor
            int64 (B, T), what the student has read.
        tokens : Tensor
            float32 or bfloat16 (B, T, p), the student's.
        understood : Understanding
            The student's, about ``tags``.
        tags : sequence of int
            Numbers of the tags that the batch is compared with.

        Returns
        -------
        dict
            Scalars: ``tokens`` and ``names``, squared distances as a share of the teacher's squares; ``soft_class``,
            ``soft_presence`` and ``soft_match``, divergences from the teacher's probabilities; ``soft_content``, cosine
            distance of the contents where the teacher hears a wish.
        """
        real = mask.bool()
        with torch.no_grad():
            wanted = self.encoder.tokens(ids, mask)
            taught = self.encoder.head(wanted, mask, self._embedded[tags])
            content, strength = self.encoder.head.reader(wanted, mask)
        read, _ = student.head.reader(tokens, mask)
        distance = 1 - (read.float() * content.float()).sum(-1)  # (B, 2)
        heard = (strength > 0.5).float()
        every = real[:, None].expand_as(taught.match)
        return {
            "tokens": _TOKENS * _squares(tokens[real], wanted[real]),
            "names": _TOKENS * self._name_loss(student),
            "soft_class": 2 * _divergence(understood.roles[real], taught.roles[real]),
            "soft_presence": _binary(understood.presence, taught.presence) / len(ids),
            "soft_match": 0.3 * _binary(understood.match[every], taught.match[every]) / len(ids),
            "soft_content": (distance * heard).sum() / heard.sum().clamp(min=1),
        }

    def _name_loss(self, student: PromptEncoder) -> Tensor:
        """The same distance for names read by themselves, which is how a catalogue's tags are read."""
        chosen = torch.randint(len(self._names), (_NAMES,)).tolist()
        read = student.embed_names(self.tokenizer, [self._names[g] for g in chosen])
        return _squares(read, self._embedded[chosen])


@torch.no_grad()
def embed_names(encoder: PromptEncoder, tokenizer: Tokenizer, names: Sequence[str], *, bf16: bool) -> Tensor:
    """Embeddings of many names, float32 (G, p), in bfloat16 arithmetic or not."""
    with torch.autocast(device_of(encoder).type, torch.bfloat16, enabled=bf16):
        parts = [encoder.embed_names(tokenizer, names[i : i + 128]) for i in range(0, len(names), 128)]
    return torch.cat(parts).float()


def _squares(found: Tensor, wanted: Tensor) -> Tensor:
    return (found.float() - wanted.float()).square().sum() / wanted.float().square().sum()


def _divergence(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean Kullback-Leibler divergence of classes: logits (n, c) twice -> ()."""
    ours, theirs = (F.log_softmax(logits.float(), dim=-1) for logits in (found, wanted))
    return F.kl_div(ours, theirs, reduction="batchmean", log_target=True)


def _binary(found: Tensor, wanted: Tensor) -> Tensor:
    """Sum of the divergences of yes and no, from logits of one shape."""
    soft = torch.sigmoid(wanted.float())
    least = F.binary_cross_entropy_with_logits(wanted.float(), soft, reduction="sum")
    return F.binary_cross_entropy_with_logits(found.float(), soft, reduction="sum") - least
