"""A file in which the processes of one machine write what they are doing.

`launch` makes it and names it in the environment. It is a file of one slot a rank, mapped by all:
writing costs less than a microsecond, and what a process wrote outlives it, so that whoever finds
it dead or frozen can say in which step.
"""

from __future__ import annotations

import mmap
import os
from contextlib import suppress
from pathlib import Path

VARIABLE = "ESPALIER_HEARTBEAT"
SLOT = 256  # bytes of a rank
_PID = 16  # bytes of its process number in front


class HeartbeatFile:
    """The slots of all ranks; without a file, nothing is written and nothing known.

    Arguments:
        file: made by `create`; None for none.
        rank: whose slot to write.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "heartbeat"
    >>> HeartbeatFile.create(path, ranks=2)
    >>> HeartbeatFile(path, 1).write("step 3, forward")
    >>> HeartbeatFile(path, 0).others()
    {1: 'step 3, forward'}
    """

    def __init__(self, file: Path | None, rank: int = 0) -> None:
        self._rank = rank
        self._memory: mmap.mmap | None = None
        if file is not None:
            with suppress(OSError, ValueError), file.open("r+b") as handle:
                self._memory = mmap.mmap(handle.fileno(), 0)
        if self._memory is not None and (rank + 1) * SLOT > len(self._memory):
            self._memory = None

    @staticmethod
    def create(file: Path, ranks: int) -> None:
        """Make the file with an empty slot for each rank."""
        file.write_bytes(bytes(ranks * SLOT))

    @classmethod
    def of_this_run(cls, rank: int) -> HeartbeatFile:
        """The file that the launcher of this process made, if any."""
        name = os.environ.get(VARIABLE)
        return cls(Path(name) if name else None, rank)

    def write(self, step: str) -> None:
        """Say what this rank is doing."""
        if self._memory is None:
            return
        slot = str(os.getpid()).encode().ljust(_PID) + step.encode()[: SLOT - _PID]
        start = self._rank * SLOT
        self._memory[start : start + SLOT] = slot.ljust(SLOT, b"\0")

    def others(self) -> dict[int, str]:
        """What the other ranks that wrote something were doing last."""
        return {rank: step for rank, (_, step) in self.read().items() if rank != self._rank}

    def read(self) -> dict[int, tuple[int, str]]:
        """Process number and step of each rank that wrote something."""
        found = {}
        for rank in range(0 if self._memory is None else len(self._memory) // SLOT):
            assert self._memory is not None
            slot = self._memory[rank * SLOT : (rank + 1) * SLOT].rstrip(b"\0")
            if slot:
                found[rank] = int(slot[:_PID]), slot[_PID:].decode(errors="replace")
        return found
