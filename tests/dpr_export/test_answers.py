# What the runtime answers from an exported bundle, against the same steps in PyTorch.

from __future__ import annotations

import numpy as np
import pytest
import torch

PROMPTS = (
    "comedy please",
    "no horror",
    "I want comedy but no war",
    "romance, western, no war, no horror",
    "hello",
    "something funny " * 30,  # longer than the encoder takes
)
STEERING = PROMPTS[:4]
NEUTRAL = "hello"  # the tiny encoder has learned that it asks for nothing


@torch.no_grad()
def pytorch_answer(
    made, history: list[str], prompt: str, *, k: int, strength: float = 1.0
) -> tuple[list[str], np.ndarray]:
    """Backbone -> prompt encoder -> fusion -> score -> mask -> top-k, by the modules alone."""
    model = made.checkpoint.model
    ids = made.checkpoint.items["item_id"].to_pylist()
    rows = [ids.index(item) for item in history]
    newest = [row + 1 for row in rows[-model.config.backbone.max_history :]] or [0]
    user = model.backbone(torch.tensor([newest]))
    token_ids = torch.tensor([made.checkpoint.tokenizer.encode(prompt).ids])
    mask = torch.ones_like(token_ids)
    tokens, wish, _ = model.prompt_encoder(token_ids, mask, model.tag_embeddings)
    experts, gates = model.fusion(user, tokens, mask, wish, model.tag_vectors)
    scores = model.score(user, experts, gates, model.item_vectors(), strength=strength)[0]
    scores[rows] = -torch.inf
    best = torch.topk(scores, k)
    return [ids[row] for row in best.indices.tolist()], best.values.numpy()


def histories(made) -> list[list[str]]:
    """A new user, a short history, a repeated item, and one beyond the limit."""
    ids = made.checkpoint.items["item_id"].to_pylist()
    return [[], ids[3:5], [ids[9], ids[2], ids[9]], ids[5:25]]


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("user", range(4))
def test_a_query_is_the_pytorch_pipeline(made, user, prompt):
    history = histories(made)[user]
    expected, scores = pytorch_answer(made, history, prompt, k=10)
    answer = made.recommender.query(history, prompt, k=10)
    assert answer.items == expected
    np.testing.assert_allclose(answer.scores, scores, rtol=0, atol=1e-4)


def test_prompts_do_steer(made):
    """Without this, the comparisons would hold for graphs that ignore the prompt."""
    steered = []
    for prompt in STEERING:
        answer, plain = made.recommender.query([], prompt, k=10), made.recommender.query([], k=10)
        if any(answer.gates.values()):
            steered.append(prompt)
            assert answer.items != plain.items or not np.allclose(answer.scores, plain.scores), prompt
    # A training of seconds ends a little differently on every CPU, and may leave one wish unheard.
    assert len(steered) >= len(STEERING) - 1, steered


@pytest.mark.parametrize("strength", [0.25, 3.0])
def test_strength_means_the_same_on_both_sides(made, strength):
    history, prompt = histories(made)[1], STEERING[2]
    expected, scores = pytorch_answer(made, history, prompt, k=10, strength=strength)
    answer = made.recommender.query(history, prompt, k=10, strength=strength)
    assert answer.items == expected
    np.testing.assert_allclose(answer.scores, scores, rtol=0, atol=1e-4 * max(1.0, strength))


@pytest.mark.parametrize(
    "options", [{"prompt": NEUTRAL}, {"prompt": STEERING[2], "strength": 0.0}, {"prompt": " "}]
)
def test_neutral_and_strength_zero_are_the_plain_ranking_bit_for_bit(made, options):
    for history in histories(made):
        plain = made.recommender.query(history, k=30)
        answer = made.recommender.query(history, k=30, **options)
        assert answer.items == plain.items
        assert answer.scores.tobytes() == plain.scores.tobytes()
    if options["prompt"] == NEUTRAL:
        assert not any(answer.gates.values())


def test_a_batch_gives_the_answers_of_its_queries(made):
    users = histories(made) * 2
    prompts = [PROMPTS[b % len(PROMPTS)] if b % 3 else None for b in range(len(users))]
    batch = made.recommender.query_batch(users, prompts, k=10)
    for answer, history, prompt in zip(batch, users, prompts, strict=True):
        single = made.recommender.query(history, prompt, k=10)
        assert answer.items == single.items
        np.testing.assert_allclose(answer.scores, single.scores, rtol=1e-5, atol=1e-5)


def test_limits_come_from_the_checkpoint(made):
    config = made.checkpoint.model.config
    manifest = made.recommender.manifest
    assert manifest.history_limit == config.backbone.max_history
    assert manifest.prompt_token_limit == config.prompt_encoder.max_tokens
    answer = made.recommender.query(histories(made)[3], PROMPTS[-1], k=1)
    assert answer.history_truncated
    assert answer.prompt_truncated


def test_what_is_understood_is_what_the_model_understood(sasrec):
    """The tags' names and the order of the columns asked and refused survive the export."""
    model, tokenizer = sasrec.checkpoint.model, sasrec.checkpoint.tokenizer
    ids = torch.tensor([tokenizer.encode("no horror").ids])
    with torch.no_grad():
        _, wish, _ = model.prompt_encoder(ids, torch.ones_like(ids), model.tag_embeddings)
    best = int(wish[0].amax(dim=1).argmax())
    (understood, *_) = sasrec.recommender.wishes("no horror")
    assert understood.tag == model.config.tags[best]
    assert (understood.asked, understood.refused) == pytest.approx(wish[0, best].tolist(), abs=1e-5)


def test_tags_beyond_the_first_word_filter(wide):
    names = wide.checkpoint.items["tags"].to_pylist()
    with_last = {row for row, tags in enumerate(names) if "tag 69" in tags}
    answer = wide.recommender.query([], k=130, where='"tag 69"')
    assert with_last
    assert set(answer.rows.tolist()) == with_last
    answer = wide.recommender.query([], STEERING[0], k=130, where='!"tag 69"')
    assert set(answer.rows.tolist()) == set(range(130)) - with_last


def test_experts_keep_their_order_names_and_biases(wide):
    model = wide.checkpoint.model
    experts = wide.recommender.manifest.experts
    assert [expert.name for expert in experts] == [
        "toward-1",
        "toward-2",
        "away-1",
        "away-2",
        "toward-3",
        "away-3",
    ]
    assert [expert.role for expert in experts] == ["toward", "toward", "away", "away", "toward", "away"]
    biases = model.biases.tolist()
    assert [expert.bias for expert in experts] == [0.0, 0.0, biases[2], biases[3], 0.0, biases[5]]
    assert len({expert.bias for expert in experts}) == 4
    manifest = wide.recommender.manifest
    assert (manifest.phi, manifest.gain) == ("softplus", 2.5)
