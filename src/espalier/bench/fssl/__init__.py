"""`espalier bench fssl`: sparse training and structured sparsity, beside PyTorch and others."""
