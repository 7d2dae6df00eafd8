"""Whether samples are left, as far as the host knows without waiting for the device."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from espalier.cuda import Device, Event


class SurvivorPoll:
    """Asks the device how many samples of a batch are left, and goes on until the answer comes."""

    def __init__(self, device: Device) -> None:
        self._device, self._event = device, Event(device)
        self._count: NDArray[np.int32] = device.allocate_pinned(1)
        self._asked = self._empty = False

    def begin(self) -> None:
        """A new batch: what was known before no longer holds."""
        self._asked = self._empty = False

    def ask(self, count: int, stream: int) -> None:
        """Ask for the number of samples left, at an address, if no answer is due."""
        if self.nobody_is_left() or (self._asked and not self._event.has_come()):
            return
        self._device.copy_out_later(self._count, count, stream)
        self._event.record(stream)
        self._asked = True

    def nobody_is_left(self) -> bool:
        """True once an answer has come that says so; dead and finished samples stay so."""
        if self._asked and not self._empty and self._event.has_come():
            self._empty = int(self._count[0]) == 0
        return self._empty
