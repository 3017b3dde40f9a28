# An exponential moving average of weights: smoother than the last step's, and better on held-out data.
"""Average a module's weights while it is trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["WeightAverage"]


class WeightAverage:
    """Exponential moving average of all parameters of a module.

    The first updates count more, so that the random beginning is soon forgotten: after ``n`` updates the decay is
    at most ``(1 + n) / (10 + n)``.

    Parameters
    ----------
    module : nn.Module
        Without buffers that training changes: those are taken as they are.
    decay : float
        Share of the average that an update keeps, in (0, 1).

    References
    ----------
    Polyak & Juditsky, "Acceleration of Stochastic Approximation by Averaging", SIAM J. Control Optim. 30(4), 1992.
    The bound on the decay is that of TensorFlow's ``ExponentialMovingAverage``.

    Examples
    --------
    >>> layer = nn.Linear(1, 1)
    >>> average = WeightAverage(layer, 0.9)
    >>> average.update()
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = module
        self.decay = decay
        self._updates = 0
        self._weights = {name: p.detach().clone() for name, p in module.named_parameters()}

    @torch.no_grad()
    def update(self) -> None:
        """Take the module's weights into the average; to be called after every step."""
        self._updates += 1
        decay = min(self.decay, (1 + self._updates) / (10 + self._updates))
        now = [p.detach() for p in self.module.parameters()]
        torch._foreach_lerp_(list(self._weights.values()), now, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the module the average for as long as the context lasts."""
        own = {name: p.detach().clone() for name, p in self.module.named_parameters()}
        self._put(self._weights)
        try:
            yield
        finally:
            self._put(own)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that continuing needs."""
        weights = {name: weight.clone() for name, weight in self._weights.items()}
        return weights | {"updates": torch.tensor(self._updates)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from :meth:`state_dict`."""
        self._updates = int(state["updates"])
        for name, weight in self._weights.items():
            weight.copy_(state[name])

    @torch.no_grad()
    def _put(self, weights: dict[str, Tensor]) -> None:
        for name, parameter in self.module.named_parameters():
            parameter.copy_(weights[name])
