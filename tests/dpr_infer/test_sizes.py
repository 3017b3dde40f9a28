# Bundles of many sizes, checked against a float64 oracle that shares no code with the runtime.

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
import onnxruntime
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer

import tiny_bundle
from dpr_infer import Recommender
from tiny_bundle import TinyConfig

CONFIGS = [
    TinyConfig(),
    TinyConfig(items=1, tags=1, user=1, side=1, token=4),
    TinyConfig(items=300, tags=6, user=33, side=17, experts=5, phi="softplus", gain=3.0),
    TinyConfig(items=64, tags=64, user=16, side=64, token=64, experts=3),
    TinyConfig(items=200, tags=65, user=7, side=65, token=65, history_limit=3),
    TinyConfig(items=500, tags=130, user=20, side=130, token=130, experts=1, seed=5),
    TinyConfig(items=50, tags=0, user=5, side=4, examples=0),
]
PROMPTS = [None, "comedy", "no action, war", "without comedy and no war please", "nothing known"]


class Oracle:
    """The score of docs/design.md in float64, with the graphs run one query at a time and no padding."""

    def __init__(self, folder: Any, config: TinyConfig) -> None:
        self.config = config
        self.arrays = load_file(folder / "catalogue.safetensors")
        self.sessions = {
            name: onnxruntime.InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"])
            for name in ("backbone", "prompt_encoder", "prompt_fusion", "fusion_moe")
        }
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()

    def scores(self, history: list[int], prompt: str | None, strength: float) -> np.ndarray:
        vectors = self.arrays["vectors"].astype(np.float64)
        kept = [row + 1 for row in history][-self.config.history_limit :] or [0]
        user = self.sessions["backbone"].run(["user"], {"items": np.array([kept])})[0]
        query = np.concatenate([user[0], np.zeros(self.config.side)])
        if prompt is None:
            return vectors @ query
        experts, gates = self._experts(user, prompt)
        penalty = np.zeros(len(vectors))
        for e in range(self.config.experts):
            if e % 2 == 0:
                query = query + strength * gates[e] * experts[e]
            else:
                penalty += gates[e] * self._phi(vectors @ experts[e] - 0.125)
        return vectors @ query - strength * penalty

    def _experts(self, user: np.ndarray, prompt: str) -> tuple[np.ndarray, np.ndarray]:
        ids = np.array([self.tokenizer.encode(prompt).ids[: self.config.prompt_limit]])
        shared = {"attention_mask": np.ones_like(ids)}
        tokens, wish = self.sessions["prompt_encoder"].run(
            ["tokens", "wish"],
            {"input_ids": ids, "tag_embeddings": self.arrays["tag_embeddings"]} | shared,
        )
        names = ["keys", "values", "hidden", "sides", "strengths"]
        share = self.sessions["prompt_fusion"].run(
            names, {"tokens": tokens, "wish": wish, "tag_vectors": self.arrays["tag_vectors"]} | shared
        )
        experts, gates = self.sessions["fusion_moe"].run(
            ["experts", "gates"], {"user": user} | shared | dict(zip(names, share, strict=True))
        )
        return experts[0].astype(np.float64), gates[0].astype(np.float64)

    def _phi(self, x: np.ndarray) -> np.ndarray:
        gain = self.config.gain
        return np.maximum(x, 0) if self.config.phi == "relu" else np.logaddexp(0, gain * x) / gain


@pytest.mark.parametrize(
    "config", CONFIGS, ids=lambda c: f"N{c.items}-G{c.tags}-D{c.user + c.side}-E{c.experts}"
)
def test_answers_are_the_formula(tmp_path, config):
    folder = tiny_bundle.write_tiny_bundle(tmp_path / "bundle", config)
    recommender, oracle = Recommender(folder), Oracle(folder, config)
    ids = tiny_bundle.item_ids(config.items)
    rng = np.random.default_rng(3)
    histories = [rng.integers(0, config.items, n).tolist() for n in (0, 1, 4, 15, 2)]
    k = min(20, config.items)
    for strength in (0.5, 1.0):
        rows, scores = recommender.search_arrays(
            [[ids[row] for row in history] for history in histories],
            PROMPTS,
            k,
            exclude_history=False,
            strength=strength,
        )
        for b, (history, prompt) in enumerate(zip(histories, PROMPTS, strict=True)):
            exact = oracle.scores(history, prompt, strength)
            bound = 1e-5 * max(1.0, np.abs(exact).max())  # engines and kernel sum in float32
            np.testing.assert_allclose(scores[b], exact[rows[b]], rtol=0, atol=bound)
            # No item left out may be better than the last one returned by more than the rounding.
            left_out = np.delete(exact, rows[b])
            assert left_out.size == 0 or left_out.max() <= scores[b, -1] + 2 * bound


def test_tags_past_the_first_word_filter_and_are_refused(tmp_path):
    folder = tiny_bundle.write_tiny_bundle(tmp_path / "bundle", items=200, tags=130, side=130, token=130)
    recommender = Recommender(folder)
    everything = recommender.query([], k=200)
    late = [f"Tag{g}" for g in (63, 64, 127, 128, 129)]
    for tag in late:
        expected = {i for i, tags in zip(everything.items, everything.tags, strict=True) if tag in tags}
        assert set(recommender.query([], k=200, where=tag).items) == expected
        strict = recommender.query([], f"no {tag}", 200, steer="strict")
        assert set(everything.items) - set(strict.items) == expected
    assert any(set(tags) & set(late) for tags in everything.tags)


def test_vectors_are_mapped_and_read_only(bundle_path):
    vectors = Recommender(bundle_path)._bundle.catalogue.vectors
    assert not vectors.flags.writeable
    while isinstance(vectors, np.ndarray):
        vectors = vectors.base
    assert isinstance(vectors.obj, mmap.mmap)
