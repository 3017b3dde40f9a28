# Run as a process of its own: opens a bundle and answers once, or answers for a long time and says what it holds.
"""What a fresh process takes to open a bundle, and what it holds after many queries."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import perf_counter

_BEGUN = perf_counter()

from dpr_infer import Recommender  # noqa: E402  (importing it is what is timed)

_IMPORTED = perf_counter()

# Queries answered with the same prompts for one with a prompt that is not cached.
_CACHED_FOR_ONE_FRESH = 100
_FILL = 1100  # prompts: more than the cache keeps
# How often the cache is filled before memory counts: what comes in the place of the first ones does not fit into what
# they leave, to the byte. On the demonstration's bundle 1.3 MiB came with the second 1,000 new prompts, 0 to .45 with
# each of the next five, and none with 24,000 queries whose prompts were known.
_FILLS = 3
_WARM_UP = 2000
_SAMPLES = 100


def main() -> None:
    """Arguments: a bundle, a JSON file with histories and prompts, and how many queries; 0 for one answer."""
    bundle, path, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    asked = json.loads(path.read_text(encoding="utf-8"))
    histories, prompts = asked["histories"], asked["prompts"]
    begun = perf_counter()
    recommender = Recommender(bundle)
    opened = perf_counter()
    recommender.query(histories[0], prompts[0])
    answered = perf_counter()
    _say(
        import_ms=1e3 * (_IMPORTED - _BEGUN),
        open_ms=1e3 * (opened - begun),
        first_ms=1e3 * (answered - opened),
        rss=_resident_bytes(),
    )
    if count:
        _answer(recommender, histories, prompts, count)


def _answer(recommender: Recommender, histories: list[list[str]], prompts: list[str], count: int) -> None:
    """Fill the cache of prompts, read histories of every length, warm up, then answer and sample."""
    fresh = 0

    def ask(number: int, *, new: bool) -> None:
        nonlocal fresh
        prompt = prompts[number % len(prompts)]
        if new:
            fresh += 1
            # Blanks make a text that the cache does not hold, and the same tokens; as many texts as it holds twice.
            prompt = prompts[fresh % len(prompts)] + " " * (1 + fresh % (2 * _FILL) // len(prompts))
        recommender.query(histories[number % len(histories)], prompt)

    for number in range(_FILLS * _FILL):
        ask(number, new=True)
    # An engine keeps something of every shape that it has seen.
    longest = max(histories, key=len)
    for length in range(min(len(longest), recommender.manifest.history_limit) + 1):
        recommender.query(longest[:length], prompts[0])
    for number in range(_WARM_UP):
        ask(number, new=number % _CACHED_FOR_ONE_FRESH == 0)
    _say(queries=0, rss=_resident_bytes())
    every = max(1, count // _SAMPLES)
    for number in range(1, count + 1):
        ask(number, new=number % _CACHED_FOR_ONE_FRESH == 0)
        if number % every == 0 or number == count:
            _say(queries=number, rss=_resident_bytes())


def _resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name == "VmRSS":
            return 1024 * int(value.split()[0])
    raise OSError("/proc/self/status must have a line VmRSS; it has none")


def _say(**values: float) -> None:
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    main()
