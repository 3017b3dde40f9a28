# Prompts as nobody types them: too many, too long, too odd.
"""Attack the reading of prompts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

from dpr_bench.serve.client import Client, Reply
from dpr_bench.serve.faults.flood import send_flood
from dpr_bench.serve.faults.outcome import FaultSetup, Outcome, counted, percentile_ms
from dpr_bench.serve.faults.regular import regular_client
from dpr_bench.serve.processes import dpr_serve, footprint, serving

__all__ = ["huge_prompts", "odd_characters", "prompt_flood"]

_PATH = "/v1/recommend"
_RATE = 1000.0
_CACHE = 512
_MOST_GROWTH_MIB = 64.0
_MEGABYTE = 1_000_000
_HUGE_CALLS = 40


def prompt_flood(setup: FaultSetup) -> Outcome:
    """A thousand prompts a second that no cache holds, and a regular client whose prompt is in the cache."""
    tags = setup.tags
    history = list(setup.history[:20])

    def body(number: int) -> bytes:
        text = f"{tags[number % len(tags)].lower()} but no {tags[(number // 7) % len(tags)].lower()}, wish {number}"
        return json.dumps({"history": history, "prompt": text}).encode()

    cached = {"history": history, "prompt": "a comedy"}
    with serving(dpr_serve(setup.bundle, "--prompt-cache-size", str(_CACHE))) as server:
        with Client(server.port) as client:
            client.post(_PATH, cached)
            for number in range(
                _CACHE
            ):  # the cache is full before the flood, so that what grows is something else
                client.send("POST", _PATH, body(-1 - number))
        before = footprint(server.pid).resident_mib
        with regular_client(server.port, cached) as regular:
            flood = send_flood(server.port, _PATH, body, rate=_RATE, seconds=setup.seconds)
        growth = footprint(server.pid).resident_mib - before
        with Client(server.port) as client:
            afterwards = client.post(_PATH, cached)
    statuses = flood.statuses + regular.statuses
    return Outcome(
        name="flood of prompts",
        done=f"{_RATE:.0f} distinct prompts a second for {setup.seconds:g} s against a cache of {_CACHE}, and a "
        "regular client whose prompt was asked before.",
        expected="200, 503 with Retry-After, or 504, nothing else; memory grows by less than "
        f"{_MOST_GROWTH_MIB:g} MiB; the server answers afterwards",
        measured={
            "sent a second": flood.rate,
            "not sent, 1000 waiting": flood.late,
            "flood": counted(flood.statuses),
            "503 without Retry-After": flood.hopeless,
            "prompts read a second": flood.statuses[200] / flood.seconds,
            "regular client": counted(regular.statuses),
            "its p50 ms": regular.p50_ms,
            "its p99 ms": regular.p99_ms,
            "growth MiB": growth,
            "afterwards": afterwards.status,
        },
        passed=set(statuses) <= {200, 503, 504}
        and flood.hopeless == 0
        and growth < _MOST_GROWTH_MIB
        and afterwards.status == 200,
    )


def huge_prompts(setup: FaultSetup) -> Outcome:
    """Prompts of a megabyte: within the body's limit, and beyond it."""
    within = json.dumps({"history": [], "prompt": "no war " * (_MEGABYTE // 7)}).encode()
    beyond = json.dumps({"history": [], "prompt": "no war " * (2 * _MEGABYTE // 7)}).encode()
    turns = json.dumps({"history": [], "prompt": ["no war " * (_MEGABYTE // 7 // 30)] * 30}).encode()
    replies: dict[str, list[Reply]] = {}
    with serving(dpr_serve(setup.bundle)) as server:
        with Client(server.port) as client:
            client.send("POST", _PATH, within)
        before = footprint(server.pid).resident_mib
        for name, body in (("1 MB", within), ("1 MB in 30 turns", turns), ("2 MB", beyond)):
            replies[name] = [_send_once(server.port, body) for _ in range(_HUGE_CALLS)]
        growth = footprint(server.pid).resident_mib - before
    statuses = {name: Counter(reply.status for reply in got) for name, got in replies.items()}
    slowest = max(percentile_ms([reply.seconds for reply in got], 50) for got in replies.values())
    expected = {"1 MB": {422}, "1 MB in 30 turns": {422}, "2 MB": {413}}
    return Outcome(
        name="prompts of 1 MB",
        done=f"{_HUGE_CALLS} times each: a prompt of 1 MB, 30 turns of together 1 MB, and a prompt of 2 MB.",
        expected="422 for what is too long for a turn, 413 for what is too long for a body",
        measured={name: counted(found) for name, found in statuses.items()}
        | {"slowest p50 ms": slowest, "growth MiB": growth},
        passed={name: set(found) for name, found in statuses.items()} == expected
        and growth < _MOST_GROWTH_MIB,
    )


def _send_once(port: int, body: bytes) -> Reply:
    """On a connection of its own; 0 where the server hung up before it had read everything."""
    with Client(port) as client:
        try:
            return client.send("POST", _PATH, body)
        except OSError:
            return Reply(0, b"", 0.0, {})


def odd_characters(setup: FaultSetup) -> Outcome:
    """Control characters, every plane of Unicode, surrogates, bytes that are no UTF-8: in prompts, ids and searches."""
    statuses: Counter[int] = Counter()
    failed: list[str] = []
    with serving(dpr_serve(setup.bundle, users=str(setup.folder / "users.sqlite"))) as server:
        for name, method, path, body in _odd_requests():
            with Client(server.port) as client:
                try:
                    status = client.send(method, path, body).status
                except OSError:
                    status = 0
            statuses[status] += 1
            if not 200 <= status < 500:
                failed.append(name)
        with Client(server.port) as client:
            alive = client.post(_PATH, {"history": list(setup.history)}).status
    return Outcome(
        name="odd characters",
        done="Each control character, texts from all 17 planes, lone surrogates, bytes that are no UTF-8, long runs of "
        "combining marks: as prompts, item ids, users, tags of exact turns, expressions and searches.",
        expected="an answer or a 4xx to each, never a 5xx",
        measured={
            "requests": statuses.total(),
            "answers": counted(statuses),
            "5xx or none": ", ".join(failed[:5]) or "none",
        },
        passed=not failed and alive == 200,
    )


def _odd_requests() -> Iterator[tuple[str, str, str, bytes | None]]:
    """Name, method, path and body of each."""
    for name, text in _odd_texts():
        for field, document in (
            ("prompt", {"prompt": text}),
            ("turns", {"prompt": ["a comedy", text]}),
            ("tag", {"prompt": {text: "ask"}}),
            ("where", {"where": text}),
            ("history", {"history": [text]}),
            ("user", {"user": text}),
        ):
            yield f"{name} as {field}", "POST", _PATH, json.dumps(document).encode()  # ASCII, escaped
        if all(ord(c) < 0xD800 or ord(c) > 0xDFFF for c in text):
            raw = json.dumps({"prompt": text}, ensure_ascii=False).encode()
            yield f"{name} as UTF-8", "POST", _PATH, raw
            quoted = "".join(f"%{byte:02x}" for byte in text.encode())
            yield f"{name} as search", "GET", f"/v1/items?q={quoted}", None
            yield f"{name} as a path", "GET", f"/v1/users/{quoted}", None
    for number, raw in enumerate((b"\xff\xfe", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80")):
        yield f"no UTF-8 {number}", "POST", _PATH, b'{"prompt": "' + raw + b'"}'
        yield f"no UTF-8 {number} as a path", "GET", f"/v1/users/{''.join(f'%{b:02x}' for b in raw)}", None
    yield "raw NUL", "POST", _PATH, b'{"prompt": "a\x00b"}'
    yield "byte order mark", "POST", _PATH, b'\xef\xbb\xbf{"prompt": "a comedy"}'


def _odd_texts() -> Iterator[tuple[str, str]]:
    for code in (*range(0x20), *range(0x7F, 0xA0), 0xAD, 0x200B, 0x202E, 0x2028, 0xFEFF):
        yield f"U+{code:04X}", f"no {chr(code)}war"
    for plane in range(17):
        start = plane << 16
        codes = (start + 0x41, start + 0x1F600 % 0x10000, start + 0xFFFD, start + 0xFFFF)
        yield f"plane {plane}", "".join(map(chr, codes))
    yield "lone surrogate", "no \ud800 war"
    yield "swapped surrogates", "\udc00\ud800"
    yield "combining marks", "e" + "\u0301" * 5000
    yield "family", "\U0001f468\u200d\U0001f469\u200d\U0001f467" * 200
