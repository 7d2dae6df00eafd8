"""The smaller module that computes the same."""
