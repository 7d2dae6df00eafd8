"""What a sparse network is: layers, networks, and the checks of their arrays."""

from espalier.network.from_torch import read_layer
from espalier.network.layer import ACTIVATIONS, Activation, Layer
from espalier.network.network import LayerSource, Network

__all__ = ["ACTIVATIONS", "Activation", "Layer", "LayerSource", "Network", "read_layer"]
