"""Benchmarks against named peers: interleaved, checked, with the machine written beside them."""
