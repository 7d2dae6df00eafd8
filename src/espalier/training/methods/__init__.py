"""The methods: each is a list of phases."""

from espalier.training.methods import dense, fssl, magnitude, rigl
from espalier.training.phases import Stretch, divide
from espalier.training.settings import Settings

_PHASES = {
    "fssl": fssl.phases,
    "dense": dense.phases,
    "magnitude": magnitude.phases,
    "rigl": rigl.phases,
}


def stretches(settings: Settings) -> list[Stretch]:
    """The phases of a method over the epochs of a training.

    Raises:
        InputError: too few epochs for them.
    """
    return divide(_PHASES[settings.method](settings), settings.epochs)


__all__ = ["stretches"]
