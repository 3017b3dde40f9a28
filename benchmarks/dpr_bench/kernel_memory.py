# How much memory is left, before a large copy is made.
"""Memory that can be had without swapping."""

from __future__ import annotations

from pathlib import Path

__all__ = ["available_bytes"]


def available_bytes() -> int:
    """Bytes that Linux counts as available.

    Returns
    -------
    int
        MemAvailable of /proc/meminfo.

    Raises
    ------
    OSError
        If the file does not say.
    """
    for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return 1024 * int(value.split()[0])
    raise OSError("/proc/meminfo must have a line MemAvailable; it has none")
