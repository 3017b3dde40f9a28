# The examples in the docstrings are true.

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize("module", ["items", "prompt_cache", "start_over", "where", "cli.bundle_screen"])
def test_examples(module):
    result = doctest.testmod(importlib.import_module(f"dpr_infer.{module}"))
    assert result.attempted > 0
    assert result.failed == 0
