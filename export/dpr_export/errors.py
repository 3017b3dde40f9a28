# What can go wrong while exporting, apart from a bad checkpoint.
"""Errors of the exporter."""

from __future__ import annotations

__all__ = ["ExportError", "ParityError"]


class ExportError(Exception):
    """The bundle can't be written: the message says what, expected and got."""


class ParityError(ExportError):
    """An exported graph, or the top-k made from the graphs, differs from PyTorch beyond its bound."""
