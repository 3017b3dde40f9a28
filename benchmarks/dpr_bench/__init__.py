"""Benchmarks: every figure has a script, its JSON, and a peer measured in the same run."""
