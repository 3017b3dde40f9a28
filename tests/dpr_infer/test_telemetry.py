# A library that answers queries tells nobody about them.
from __future__ import annotations

import os
import subprocess
import sys

OPEN = "import sys, dpr_infer; dpr_infer.Recommender(sys.argv[1]).query([], 'comedy')"
TURN_IT_OFF = {"CI", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME"}  # or elsewhere, and would hide what is tested


def test_onnxruntime_keeps_no_identity(bundle_path, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name not in TURN_IT_OFF}
    environment["HOME"] = str(tmp_path)
    subprocess.run([sys.executable, "-c", OPEN, str(bundle_path)], env=environment, check=True)
    assert list(tmp_path.rglob("*")) == []
