# The vectors of many histories are those that each history is served alone, in the order asked for.

from __future__ import annotations

import numpy as np
import pytest
import torch

from dpr_train.backbones import build_backbone
from dpr_train.config import BackboneConfig
from dpr_train.sequences import pad_left
from dpr_train.user_vectors import user_vectors

LONGEST = 6
LENGTHS = (4, 0, 9, 1, 6, 0, 3)


@pytest.mark.parametrize("kind", ["sasrec", "gru4rec", "bert4rec"])
@pytest.mark.parametrize("by_length", [True, False])
@pytest.mark.parametrize("batch_size", [2, 256])
def test_every_history_has_the_vector_that_it_is_served_alone(
    kind: str, by_length: bool, batch_size: int
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = build_backbone(
            BackboneConfig(kind=kind, dim=8, heads=2, max_history=LONGEST, hidden=10, dropout=0.5), 20
        ).train()
    rng = np.random.default_rng(1)
    histories = [rng.integers(0, 20, length) for length in LENGTHS]
    found = user_vectors(backbone, histories, by_length=by_length, batch_size=batch_size)
    assert not backbone.training
    assert not found.requires_grad
    alone = torch.cat([backbone(torch.from_numpy(pad_left([h], LONGEST))) for h in histories])
    torch.testing.assert_close(found, alone, rtol=0, atol=1e-5)
