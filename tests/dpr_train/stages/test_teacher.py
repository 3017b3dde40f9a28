# What a student is told by its teacher: nothing where they agree, and which answer differs where they don't.

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from dpr_train.config import PromptEncoderConfig
from dpr_train.prompt_encoder import PromptEncoder, build_prompt_encoder, load_tokenizer, tokenize
from dpr_train.stages.teacher import Teacher, embed_names
from dpr_train.understanding import ASKED

NAMES = ("comedy", "horror", "war")
TEXTS = ("no horror", "something with comedy and without war please")
DISTANCES = ("tokens", "names", "soft_class", "soft_presence", "soft_match")


@pytest.fixture(scope="module")
def tokenizer(encoder_folder: Path) -> Tokenizer:
    return load_tokenizer(encoder_folder, 32)


@pytest.fixture
def encoder(encoder_folder: Path) -> PromptEncoder:
    torch.manual_seed(0)
    made = build_prompt_encoder(
        PromptEncoderConfig(max_tokens=32, layers=2, tuned_layers=2, head_dim=16), encoder_folder
    )
    made.head.reader.role[-1].bias.data[ASKED] = 2.0  # it hears a wish everywhere
    return made.eval()


@pytest.fixture
def teacher(encoder: PromptEncoder, tokenizer: Tokenizer) -> Teacher:
    made = Teacher(copy.deepcopy(encoder), tokenizer)
    made.read_names(NAMES, bf16=False)
    return made


def losses(
    student: PromptEncoder, teacher: Teacher, tokenizer: Tokenizer, texts: tuple[str, ...] = TEXTS
) -> dict[str, torch.Tensor]:
    ids, mask = map(torch.from_numpy, tokenize(tokenizer, texts))
    names = embed_names(student, tokenizer, NAMES, bf16=False)
    tokens = student.tokens(ids, mask)
    understood = student.head(tokens, mask, names[[0, 2]])
    return teacher.losses(student, ids, mask, tokens, understood, [0, 2])


def test_a_student_that_is_its_teacher_has_nothing_to_learn(
    encoder: PromptEncoder, teacher: Teacher, tokenizer: Tokenizer
) -> None:
    for name, loss in losses(encoder, teacher, tokenizer).items():
        assert loss.item() == pytest.approx(0.0, abs=1e-4), name


def test_each_loss_is_about_its_own_answer(
    encoder: PromptEncoder, teacher: Teacher, tokenizer: Tokenizer
) -> None:
    def changed(name: str) -> set[str]:
        student = copy.deepcopy(encoder)
        state = dict(student.named_parameters())
        state[name].data += torch.randn(state[name].shape, generator=torch.Generator().manual_seed(1))
        found = losses(student, teacher, tokenizer)
        return {loss for loss, value in found.items() if value > 1e-3}

    assert "soft_class" in changed("head.reader.role.2.bias") <= {"soft_class", "soft_content"}
    assert changed("head.match_bias") == {"soft_presence", "soft_match"}
    assert changed("head.reader.content.weight") == {"soft_content"}
    assert changed("encoder.encoder.layer.1.output.LayerNorm.weight") >= set(DISTANCES)


def test_padding_teaches_nothing(encoder: PromptEncoder, teacher: Teacher, tokenizer: Tokenizer) -> None:
    student = copy.deepcopy(encoder)
    student.encoder.encoder.layer[1].output.LayerNorm.bias.data += 0.5
    alone = [losses(student, teacher, tokenizer, (text,)) for text in TEXTS]
    both = losses(student, teacher, tokenizer)
    for name in ("soft_presence", "soft_match"):  # sums over what is real, a prompt
        mean = torch.stack([part[name] for part in alone]).mean()
        torch.testing.assert_close(both[name], mean, rtol=1e-4, atol=1e-6)


def test_the_teacher_does_not_learn(encoder: PromptEncoder, teacher: Teacher, tokenizer: Tokenizer) -> None:
    student = copy.deepcopy(encoder).train()
    student.head.match_bias.data += 1
    student.head.reader.content.weight.data *= -1
    torch.stack(list(losses(student, teacher, tokenizer).values())).sum().backward()
    assert student.encoder.encoder.layer[0].output.dense.weight.grad is not None
    assert all(p.grad is None and not p.requires_grad for p in teacher.encoder.parameters())


def test_contents_are_compared_where_the_teacher_hears_a_wish(
    encoder: PromptEncoder, teacher: Teacher, tokenizer: Tokenizer
) -> None:
    student = copy.deepcopy(encoder)
    student.head.reader.content.weight.data *= -1
    assert losses(student, teacher, tokenizer)["soft_content"].item() == pytest.approx(2.0, abs=0.1)
    teacher.encoder.head.reader.role[-1].bias.data[ASKED] = -5.0
    teacher.encoder.head.reader.role[-1].bias.data[0] = 5.0
    assert losses(student, teacher, tokenizer)["soft_content"] == 0
