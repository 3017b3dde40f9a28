# Item vectors of the shapes that the index is tested on.
from __future__ import annotations

import numpy as np

from core.oracle import Floats


def clustered(rng: np.random.Generator, n_items: int, dim: int, *, n_directions: int = 24) -> Floats:
    """Return items around a few directions, as learned embeddings lie; lengths are log-normal."""
    centres = rng.normal(size=(n_directions, dim))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    noise = rng.normal(size=(n_items, dim)) / np.sqrt(dim)
    directions = centres[rng.integers(0, n_directions, n_items)] + noise
    return (directions * rng.lognormal(0, 0.3, (n_items, 1))).astype(np.float32)


def independent(rng: np.random.Generator, n_items: int, dim: int) -> Floats:
    """Return normal vectors: nothing for an index to find."""
    return rng.normal(size=(n_items, dim)).astype(np.float32)


def tied(rng: np.random.Generator, n_items: int, dim: int) -> Floats:
    """Return small whole numbers: many equal scores."""
    return rng.integers(-2, 3, (n_items, dim)).astype(np.float32)


def identical(rng: np.random.Generator, n_items: int, dim: int) -> Floats:
    """Return few different items, each many times."""
    return np.repeat(independent(rng, -(-n_items // 90), dim), 90, axis=0)[rng.permutation(n_items)]


def parallel(rng: np.random.Generator, n_items: int, dim: int) -> Floats:
    """Return multiples of one vector that differ in their last bits: nothing but rounding tells their scores."""
    multiples = 1 + rng.integers(0, 60, (n_items, 1)) * 2.0**-23
    return (multiples * np.ones(dim)).astype(np.float32)


def zero(rng: np.random.Generator, n_items: int, dim: int) -> Floats:
    return np.zeros((n_items, dim), np.float32)


def denormal(rng: np.random.Generator, n_items: int, dim: int) -> Floats:
    """Return vectors whose products underflow, next to some that are 0."""
    vectors = independent(rng, n_items, dim) * np.float32(1e-38)
    vectors[rng.random(n_items) < 0.1] = 0
    return vectors


def of_all_lengths(rng: np.random.Generator, n_items: int, dim: int) -> Floats:
    """Return norms from 1e-30 to 1e14, the largest that bounds are made for, and zeros of both signs."""
    vectors = independent(rng, n_items, dim) * 10.0 ** rng.uniform(-30, 14, (n_items, 1)) / np.sqrt(dim)
    vectors[rng.random((n_items, dim)) < 0.05] = -0.0
    return vectors.astype(np.float32)


def huge(rng: np.random.Generator, n_items: int, dim: int) -> Floats:
    """Return normal vectors, but for one that is longer than bounds are made for."""
    vectors = independent(rng, n_items, dim)
    vectors[n_items // 2] = 1e16
    return vectors


ALL = {
    maker.__name__: maker
    for maker in (clustered, independent, tied, identical, parallel, zero, denormal, of_all_lengths, huge)
}
