"""Whether samples are left, as far as the host knows without waiting for the device."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from espalier.cuda import Device, Event


class Glances:
    """Pinned memory and an event by which the host learns a count without waiting."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.count: NDArray[np.int32] = device.allocate_pinned(1)
        self.event = Event(device)


class Glance:
    """Whether samples are left in this batch, as far as the host knows without waiting."""

    def __init__(self, glances: Glances, stream: int) -> None:
        self._glances, self._stream = glances, stream
        self._asked = self._nobody = False

    def look(self, count: int) -> None:
        """Ask for the number of living slots at an address, if no answer is due."""
        glances = self._glances
        if self._nobody or (self._asked and not glances.event.has_come()):
            return
        self.nobody_is_left()
        glances.device.copy_out_later(glances.count, count, self._stream)
        glances.event.record(self._stream)
        self._asked = True

    def nobody_is_left(self) -> bool:
        """True once an answer has come that says so; dead and finished samples stay so."""
        glances = self._glances
        if self._asked and not self._nobody and glances.event.has_come():
            self._nobody = int(glances.count[0]) == 0
        return self._nobody
