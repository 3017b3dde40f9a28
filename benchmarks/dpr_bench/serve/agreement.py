# Before anything is timed: do the servers give the same answers? What is asked here is in their caches afterwards.
"""Compare the answers of two servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dpr_bench.serve.client import Client

__all__ = ["Agreement", "check_agreement"]

_PATH = "/v1/recommend"
# A bundle's prompt encoder may be quantised, and a checkpoint's is not: scores differ by a per cent, so that of ten
# items one may be another, and the order of near ones differs.
_FEWEST_SHARED = 0.9


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How alike the answers are.

    Attributes
    ----------
    requests : int
        Compared.
    shared : float
        Mean share of the items of one answer that are in the other, over all requests.
    shared_without_prompt : float
        The same over the requests without a prompt.
    worst : float
        The least share.
    same_first : float
        Share of the requests whose first items are the same.
    """

    requests: int
    shared: float
    shared_without_prompt: float
    worst: float
    same_first: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def check_agreement(port: int, other_port: int, requests: Sequence[Mapping[str, Any]]) -> Agreement:
    """Ask both servers everything.

    Parameters
    ----------
    port, other_port : int
        Where they listen.
    requests : sequence of mapping
        Bodies, some without a prompt.

    Returns
    -------
    Agreement
        How alike they are.

    Raises
    ------
    ValueError
        If an answer is no 200, or the answers have too little in common to be compared in speed.
    """
    shares, plain, first = [], [], 0
    with Client(port) as one, Client(other_port) as other:
        for request in requests:
            ours, theirs = _items(one, request), _items(other, request)
            share = len(set(ours) & set(theirs)) / max(1, len(ours), len(theirs))
            shares.append(share)
            first += ours[:1] == theirs[:1]
            if request["prompt"] is None:
                plain.append(share)
    found = Agreement(
        requests=len(shares),
        shared=sum(shares) / len(shares),
        shared_without_prompt=sum(plain) / max(1, len(plain)),
        worst=min(shares),
        same_first=first / len(shares),
    )
    if found.shared < _FEWEST_SHARED:
        raise ValueError(f"the servers must give the same items; they share {found.shared:.0%}")
    return found


def _items(client: Client, request: Mapping[str, Any]) -> list[str]:
    reply = client.post(_PATH, request)
    if reply.status != 200:
        raise ValueError(f"POST {_PATH}: expected 200, got {reply.status} {reply.body[:300]!r}")
    return [item["id"] for item in reply.json()["items"]]
