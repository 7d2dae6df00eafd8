"""What a sparse network is: layers, networks, and the checks of their arrays."""

from espalier.network.network import (
    ACTIVATIONS,
    Activation,
    Layer,
    LayerSource,
    Network,
)

__all__ = ["ACTIVATIONS", "Activation", "Layer", "LayerSource", "Network"]
