# A process that opens bundles under limits, and what a test asks it. What would kill it kills no test, only the opener.

from __future__ import annotations

import json
import resource
import selectors
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

_ADDRESS_SPACE = 16 * 2**30
_SECONDS = 60


class BundleOpener:
    """Opens bundles elsewhere; started when it is first needed, and again after it died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def open(self, folder: Path, **options: Any) -> dict[str, Any]:
        """Return what came of opening a folder and asking a few queries.

        ``outcome`` is "answered", "refused" (by an error of dpr_infer), "raised" (another error), "died" or "hung";
        ``text`` says more; ``grown_mib`` is by how much the opener's peak of memory rose.
        """
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"folder": str(folder), "options": options}) + "\n")
        process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            line = process.stdout.readline() if selector.select(_SECONDS) else None
        if line:
            result: dict[str, Any] = json.loads(line)
            return result
        self.close()
        if line is None:
            return {"outcome": "hung", "text": f"no answer in {_SECONDS} s", "grown_mib": 0}
        return {"outcome": "died", "text": f"exit code {process.returncode}", "grown_mib": 0}

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _start(self) -> subprocess.Popen[str]:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        return self._process


def _peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _answer(folder: str, options: dict[str, Any]) -> dict[str, Any]:
    from dpr_infer import DprError, Recommender

    before = _peak_mib()
    try:
        recommender = Recommender(folder, **options)
        for prompt in (None, "no war, comedy"):
            recommender.query(recommender.items.ids[:3], prompt, 5)
        session = recommender.session(recommender.items.ids[:3])
        session.query(5)
        session.append(recommender.items.ids[3:5])
        session.query(5)
        if recommender.manifest.text_encoder is not None:
            recommender.add_items(["x"], titles=["Night"], tags=[[]], texts=["war and a film"])
            recommender.query([], "war", 5)
        outcome, text = "answered", ""
    except DprError as error:
        outcome, text = "refused", f"{type(error).__name__}: {error}"
    except BaseException:
        outcome, text = "raised", traceback.format_exc()
    return {"outcome": outcome, "text": text, "grown_mib": _peak_mib() - before}


def _serve() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        request = json.loads(line)
        sys.stdout.write(json.dumps(_answer(request["folder"], request["options"])) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
