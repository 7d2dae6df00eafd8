"""Networks and inputs made by rule: the challenge's own, and ones without structure."""

from espalier.generate.images import challenge_images
from espalier.generate.radixnet import radixnet
from espalier.generate.random import random_network

__all__ = ["challenge_images", "radixnet", "random_network"]
