"""PyTorch layers."""
