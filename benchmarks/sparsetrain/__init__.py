"""`python -m benchmarks sparsetrain`: training that skips zeros, beside PyTorch and the paper."""
