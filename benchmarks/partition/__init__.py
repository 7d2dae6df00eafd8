"""Partitioned networks: words and balance beside random rows, and speed on real processes."""
