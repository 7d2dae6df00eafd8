"""`python -m benchmarks fssl`: sparse training and structured sparsity, beside others."""
