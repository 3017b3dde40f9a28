# Splits the time of a query into its steps.

from __future__ import annotations

from time import perf_counter_ns

STEPS = ("tokenise", "encode_prompt", "encode_history", "fuse", "score")


class Stopwatch:
    """Adds up wall-clock time by step; runs from its creation on. It runs in every query, few ask for its report."""

    __slots__ = ("_laps_ns", "_last_ns", "_start_ns")

    def __init__(self) -> None:
        self._laps_ns: list[tuple[str, int]] = []
        self._start_ns = self._last_ns = perf_counter_ns()

    def skip(self) -> None:
        """Book the time since the last call to no step; only the total has it."""
        self._last_ns = perf_counter_ns()

    def lap(self, step: str) -> None:
        """Book the time since the last call to a step."""
        now = perf_counter_ns()
        self._laps_ns.append((step, now - self._last_ns))
        self._last_ns = now

    def report(self) -> dict[str, float]:
        """Return milliseconds by step, and the total until now."""
        elapsed_ns = dict.fromkeys(STEPS, 0)
        for step, ns in self._laps_ns:
            elapsed_ns[step] += ns
        times = {step: ns / 1e6 for step, ns in elapsed_ns.items()}
        times["total"] = (perf_counter_ns() - self._start_ns) / 1e6
        return times
