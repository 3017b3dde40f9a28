"""Whole queries, against what one would write without this engine."""
