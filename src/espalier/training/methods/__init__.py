"""The methods: each is a list of phases."""

from collections.abc import Callable

from espalier.fssl import Groups
from espalier.training.methods import fssl, magnitude, rigl
from espalier.training.phases import Phase, dense_phase, divide
from espalier.training.settings import Settings

_PHASES: dict[str, Callable[[Settings], list[Phase]]] = {
    "fssl": fssl.phases,
    "dense": lambda settings: [dense_phase()],
    "magnitude": magnitude.phases,
    "rigl": rigl.phases,
}
_LINEAR_ALONE = ("fssl", "rigl")  # make zeros in linear layers only


def phases_of(settings: Settings) -> list[Phase]:
    """The phases of a method over the epochs of a training.

    Raises:
        InputError: too few epochs for them.
    """
    return divide(_PHASES[settings.method](settings), settings.epochs)


def check_target(settings: Settings, start: Groups) -> None:
    """Refuse a target that a method can never reach on a network, before anything is trained.

    Arguments:
        start: the groups of the network that the training begins with.

    Raises:
        InputError: more zeros than the layers hold that may become sparse.
    """
    target = settings.target
    if target is not None and target.measure == "zeros" and settings.method in _LINEAR_ALONE:
        start.check_zeros(target.value)


__all__ = ["check_target", "phases_of"]
