"""Layers whose weights are sparse: values, gradients and optimiser state of their non-zeros."""
