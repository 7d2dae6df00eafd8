"""The memory of a run on the device: buffers of activations, and what is kept of samples."""

from __future__ import annotations

from espalier.cuda import Device, Event
from espalier.inference.gpu.memory_plan import Fit, Widths

_ALIGNMENT = 256


class Workspace:
    """Where everything of a run lies; all attributes but the first three are addresses.

    Attributes:
        slots: samples at a time, in whole panels.
        limited: whether the device's memory, not the caller, set that number.
        events: four moments to take times from.
        buffers: two, of activations.
        notes: what is seen of each slot.
        samples: two lists of whose slot each is, before and after samples moved.
        source: the old slot of each new one.
        fate: the slot of each sample, or what became of it.
        survivors: by blocks of slots, how many stay.
        counts: living slots after each time samples moved.
        processed: samples that resident segments multiplied, by layer.
        status: bits of what went wrong.
        staging: memory for samples on their way to the panels.
    """

    def __init__(
        self, device: Device, chosen: Fit, widths: Widths, depth: int, steps: int, limited: bool
    ) -> None:
        self.slots, self.limited, slots = chosen.slots, limited, chosen.slots
        self.staging_bytes = chosen.staging
        self.events = [Event(device) for _ in range(4)]
        per_slot = [widths.first, widths.second, 1, 1, 1, 1, 1, 1]
        sizes = [4 * slots * each for each in per_slot] + [4 * (steps + 2), 4 * depth, 4]
        sizes.append(chosen.staging)
        offsets = [0]
        for size in sizes:
            offsets.append(offsets[-1] + -(-size // _ALIGNMENT) * _ALIGNMENT)
        self._memory = device.allocate(offsets[-1])
        places = [self._memory.address + offset for offset in offsets]
        self.buffers = places[0], places[1]
        self.notes = places[2]
        self.samples = places[3], places[4]
        self.source, self.fate, self.survivors = places[5:8]
        self.counts, self.processed, self.status = places[8:11]
        self.counters = places[8], offsets[11] - offsets[8]
        self.staging = places[11]

    def free(self) -> None:
        """Give the memory back."""
        self._memory.free()
