# onnxruntime's execution providers: what was asked for, what there is, and what is left to try when one does not start.

from __future__ import annotations

from collections.abc import Sequence

from dpr_infer.engine import Provider
from dpr_infer.errors import ProviderError

CPU = "CPUExecutionProvider"


def provider_name(provider: Provider) -> str:
    """Return a provider's name, with its options or without."""
    return provider[0] if isinstance(provider, tuple) else provider


def check_providers(providers: Sequence[Provider]) -> list[Provider]:
    """Check that providers are well formed.

    Parameters
    ----------
    providers : sequence
        Names, or pairs of name and options.

    Returns
    -------
    list of provider
        The same.

    Raises
    ------
    ProviderError
        If there is none, or one is neither a name nor a pair of name and options.
    """
    if isinstance(providers, str) or not isinstance(providers, Sequence) or not providers:
        raise ProviderError(f"providers must be a sequence of at least one provider; got {providers!r}")
    for entry in providers:
        pair = isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[1], dict)
        if not isinstance(entry[0] if pair else entry, str):
            raise ProviderError(
                f"providers must be names, or pairs of a name and a dict of options; got {entry!r}"
            )
    return list(providers)


def obtainable(
    providers: Sequence[Provider], available: Sequence[str], *, allow_fallback: bool
) -> list[Provider]:
    """Return the providers that this build of onnxruntime has.

    Parameters
    ----------
    providers : sequence
        Checked providers.
    available : sequence of str
        What onnxruntime offers.
    allow_fallback : bool
        Leave out what is not available, down to the CPU, instead of raising.

    Returns
    -------
    list of provider
        At least one.

    Raises
    ------
    ProviderError
        If one is not available; the message names those that are.
    """
    missing = [provider_name(entry) for entry in providers if provider_name(entry) not in available]
    if missing and not allow_fallback:
        raise ProviderError(
            f"providers must be out of {', '.join(available)}, offered by this onnxruntime; "
            f"got {', '.join(missing)}"
        )
    return [entry for entry in providers if provider_name(entry) in available] or [CPU]


def chains(providers: Sequence[Provider]) -> list[list[Provider]]:
    """Return what to try, one after the other: all of them, then without the first, and in the end the CPU alone."""
    tries = [list(providers[first:]) for first in range(len(providers))]
    return tries if [provider_name(entry) for entry in tries[-1]] == [CPU] else [*tries, [CPU]]
