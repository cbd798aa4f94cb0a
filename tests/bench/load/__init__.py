"""Synthetic traffic for the benchmarks: cheap to make, never the same request twice, from a seed."""
