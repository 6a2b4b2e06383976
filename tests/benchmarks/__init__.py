"""Benchmarks, each figure beside its baseline: `python -m tests.benchmarks`, or `make bench`."""
