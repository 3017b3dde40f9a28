# The whole model: shapes, and the score against the core that will serve it.

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize, pad

from dpr_infer._core import Catalogue, ScoreRule
from dpr_train.checkpoint import Checkpoint
from dpr_train.config import BackboneConfig, ModelConfig, PromptEncoderConfig, SteeringConfig
from dpr_train.item_texts import principal_directions
from dpr_train.model import DPR
from dpr_train.prompt_encoder import load_tokenizer
from dpr_train.stages.prompt_pool import encode_prompts, stack_prompts

TAGS = ("comedy", "horror", "war", "a tag of several words")
N_ITEMS, BATCH = 30, 6
TAG, TEXT = 6, 3


def make(encoder_folder: Path, *, tags: tuple[str, ...] = TAGS, **steering: object) -> DPR:
    config = ModelConfig(
        n_items=N_ITEMS,
        tags=tags,
        backbone=BackboneConfig(dim=8, max_history=5),
        prompt_encoder=PromptEncoderConfig(max_tokens=16, layers=2, head_dim=8),
        steering=SteeringConfig.model_validate(
            {"tag_dim": TAG, "text_dim": TEXT, "fusion_dim": 8, **steering}
        ),
    )
    matrix = np.random.default_rng(0).random((N_ITEMS, len(tags))) < 0.4
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = DPR(config, matrix, encoder_folder)
        for parameter in (*model.backbone.parameters(), *model.fusion.parameters(), model.biases):
            parameter.data.add_(0.3 * torch.randn_like(parameter))
        if model.config.steering.text_dim:
            place_random_texts(model)
    return model.eval()


def place_random_texts(model: DPR) -> torch.Tensor:
    """Give items invented texts and return their embeddings."""
    embedded = normalize(torch.randn(N_ITEMS, model.prompt_encoder.token_dim), dim=-1)
    model.place_texts(embedded, *principal_directions(embedded, model.config.steering.text_dim))
    return embedded


def query(model: DPR, *, wish: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """User, experts and gates of random users and prompts."""
    generator = torch.Generator().manual_seed(8)
    user = model.backbone(torch.randint(1, N_ITEMS + 1, (BATCH, 5), generator=generator))
    tokens = torch.randn(BATCH, 4, model.prompt_encoder.token_dim, generator=generator)
    drawn = torch.rand(BATCH, len(model.config.tags), 2, generator=generator) if wish is None else wish
    mask = torch.ones(BATCH, 4, dtype=torch.int64)
    return (user, *model.fusion(user, tokens, mask, drawn, model.tag_vectors))


@pytest.mark.parametrize(
    "experts",
    [
        ("toward", "away"),
        ("away", "toward", "away", "toward"),
        ("away",),
        ("toward", "toward", "away", "away", "toward_text", "away_text"),
        ("toward", "against"),
    ],
)
@pytest.mark.parametrize(("phi", "gain"), [("relu", 1.0), ("softplus", 2.5)])
@torch.no_grad()
def test_score_agrees_with_the_core(
    encoder_folder: Path, phi: str, gain: float, experts: tuple[str, ...]
) -> None:
    model = make(encoder_folder, phi=phi, phi_gain=gain, experts=experts)
    user, vectors, gates = query(model)
    items = model.item_vectors()
    rule = ScoreRule(
        roles=list(model.fusion.roles), biases=model.expert_biases().tolist(), phi=phi, gain=gain
    )
    arrays = [x.contiguous().numpy() for x in (user, vectors, gates)]
    catalogue = Catalogue(items.contiguous().numpy())
    for strength in (0.0, 0.7, 3.0):
        scores = model.score(user, vectors, gates, items, strength=strength)
        strengths = np.full(BATCH, strength, np.float32)
        reference = catalogue.reference_scores(*arrays, rule=rule, strength=strengths)
        np.testing.assert_allclose(scores.numpy(), reference, rtol=0, atol=1e-4)
        moved = (scores - model.backbone.logits(user)).abs().max()
        assert moved > 0.05 if strength else moved < 1e-5


@pytest.mark.parametrize("phi", ["relu", "softplus"])
@torch.no_grad()
def test_without_a_wish_or_strength_the_ranking_is_plain(encoder_folder: Path, phi: str) -> None:
    model = make(encoder_folder, phi=phi, experts=("toward", "away"))
    items = model.item_vectors()
    user, experts, gates = query(model, wish=torch.full((BATCH, len(TAGS), 2), 0.19))
    plain = pad(user, (0, TAG + TEXT)) @ items.T
    assert torch.equal(model.score(user, experts, gates, items), plain)
    user, experts, gates = query(model)
    assert torch.equal(model.score(user, experts, gates, items, strength=0.0), plain)
    torch.testing.assert_close(plain, model.backbone.logits(user))


@torch.no_grad()
def test_steered_scores_are_those_of_fusion_and_item_vectors(encoder_folder: Path) -> None:
    model = make(encoder_folder)
    user, tokens = torch.randn(BATCH, 8), torch.randn(BATCH, 4, model.prompt_encoder.token_dim)
    prompts = tokens, torch.ones(BATCH, 4, dtype=torch.int64), torch.rand(BATCH, len(TAGS), 2)
    experts, gates = model.fusion(user, *prompts, model.tag_vectors)
    items = model.item_vectors()
    assert torch.equal(model.steered(user, *prompts), model.score(user, experts, gates, items))
    assert torch.equal(model.steered(user, *prompts, items[:5]), model.score(user, experts, gates, items[:5]))


@torch.no_grad()
def test_an_item_vector_is_its_collaborative_part_the_sum_of_its_tags_and_its_text(
    encoder_folder: Path,
) -> None:
    model = make(encoder_folder)
    vectors = model.item_vectors()
    assert vectors.shape == (N_ITEMS, 8 + TAG + TEXT)
    torch.testing.assert_close(vectors[:, :8], model.backbone.item_vectors())
    for row in range(N_ITEMS):
        tags = np.flatnonzero(model.tag_matrix[row].numpy())
        torch.testing.assert_close(vectors[row, 8 : 8 + TAG], model.tag_parts[tags].sum(0))
    assert torch.equal(vectors[:, 8 + TAG :], model.text_vectors)


@pytest.mark.parametrize(("sides", "tags", "text"), [((), 0, 0), (("tags",), 1, 0), (("text",), 0, 1)])
@torch.no_grad()
def test_item_vectors_without_a_side(
    encoder_folder: Path, sides: tuple[str, ...], tags: int, text: int
) -> None:
    whole, part = make(encoder_folder).item_vectors(), make(encoder_folder, item_sides=sides).item_vectors()
    assert torch.equal(part[:, :8], whole[:, :8])
    assert torch.equal(part[:, 8 : 8 + TAG], tags * whole[:, 8 : 8 + TAG])
    assert torch.equal(part[:, 8 + TAG :], text * whole[:, 8 + TAG :])


@torch.no_grad()
def test_a_model_without_texts(encoder_folder: Path) -> None:
    model = make(encoder_folder, text_dim=0, experts=("toward", "away"))
    assert model.item_vectors().shape == (N_ITEMS, 8 + TAG)
    user, experts, gates = query(model)
    assert model.score(user, experts, gates, model.item_vectors()).shape == (BATCH, N_ITEMS)


@torch.no_grad()
def test_items_and_contents_share_the_space_of_texts(encoder_folder: Path) -> None:
    model = make(encoder_folder)
    embedded = place_random_texts(model)
    torch.testing.assert_close(model.text_vectors.norm(dim=-1), torch.ones(N_ITEMS))
    place = (embedded - model.fusion.text_mean) @ model.fusion.text_basis
    torch.testing.assert_close(model.text_vectors, normalize(place, dim=-1))


@torch.no_grad()
def test_fusion_reads_wished_words_as_the_prompt_encoder_does(encoder_folder: Path) -> None:
    model = make(encoder_folder)
    ours, theirs = model.fusion.reader.state_dict(), model.prompt_encoder.head.reader.state_dict()
    assert not torch.equal(ours["role.0.weight"], theirs["role.0.weight"])
    model.read_wishes()
    ours = model.fusion.reader.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@torch.no_grad()
def test_side_vectors_start_orthogonal_where_there_is_room(encoder_folder: Path) -> None:
    few = make(encoder_folder).tag_vectors
    assert (few[:, TAG:] == 0).all()
    torch.testing.assert_close(few @ few.T, torch.eye(len(TAGS)), rtol=0, atol=1e-5)
    many = make(encoder_folder, tags=tuple(f"tag {g}" for g in range(9))).tag_vectors
    torch.testing.assert_close(many.norm(dim=1), torch.ones(9))


@torch.no_grad()
def test_expert_biases_are_zero_for_toward(encoder_folder: Path) -> None:
    model = make(encoder_folder, experts=("toward", "away", "away"))
    assert model.expert_biases()[0] == 0
    assert torch.equal(model.expert_biases()[1:], model.biases[1:])


def test_a_tag_matrix_of_another_shape_is_refused(encoder_folder: Path) -> None:
    config = make(encoder_folder).config
    with pytest.raises(ValueError, match=r"tag_matrix has shape \(30, 3\); expected \(30, 4\)"):
        DPR(config, np.zeros((30, 3), dtype=bool), encoder_folder)


def test_tags_are_embedded_by_name(encoder_folder: Path) -> None:
    model = make(encoder_folder)
    tokenizer = load_tokenizer(encoder_folder, 16)
    assert (model.tag_embeddings == 0).all()
    model.embed_tags(tokenizer)
    one_by_one = [model.prompt_encoder.embed_names(tokenizer, [tag])[0] for tag in TAGS]
    torch.testing.assert_close(model.tag_embeddings, torch.stack(one_by_one), rtol=0, atol=1e-5)
    assert not model.tag_embeddings.requires_grad


@torch.no_grad()
def test_a_trained_model_reads_which_tag_is_meant(checkpoint: Checkpoint) -> None:
    model = checkpoint.model
    texts = ["no horror please", "surprise me", "give me comedy"]
    encoded = encode_prompts(model.prompt_encoder, checkpoint.tokenizer, model.tag_embeddings, texts)
    tokens, mask, wish = stack_prompts(encoded)
    present = wish.sum(-1)  # asked or refused; the direction takes longer to learn than these seconds
    assert present[0].argmax() == model.config.tags.index("horror")
    assert present[2].argmax() == model.config.tags.index("comedy")
    user = torch.zeros(3, model.backbone.dim)
    _, gates = model.fusion(user, tokens, mask, wish, model.tag_vectors)
    assert (gates[[0, 2]].sum(1) > 0.1).all()
    assert (gates[1] == 0).all()
