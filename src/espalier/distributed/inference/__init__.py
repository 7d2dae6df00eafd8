"""Run a partitioned network on many ranks."""
