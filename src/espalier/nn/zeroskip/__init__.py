"""Layers that skip the zeros that ReLU makes, in all three passes (SparseTrain)."""
