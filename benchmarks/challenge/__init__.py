"""`python -m benchmarks challenge`: the Graph Challenge, beside papers and peers."""
