"""The command line, but one rank meets with a fault where it says it is in a certain step.

Arguments: the fault (raise, kill, stop, slow, fill, wait:FILE), the rank, words of the step, "--",
the line.
"""

import os
import resource
import signal
import sys
import time
from pathlib import Path

from espalier.cli import main
from espalier.distributed.comm import launch
from espalier.distributed.comm.timeout import Timeout
from espalier.errors import EspalierError

fault, rank, where = sys.argv[1], int(sys.argv[2]), sys.argv[3]
sys.argv = ["espalier", *sys.argv[5:]]
whole_enter = Timeout.enter


def fail():
    if fault == "raise":
        raise EspalierError("a fault that was asked for")
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if fault == "slow":  # longer than the patience
        time.sleep(float(os.environ["ESPALIER_PATIENCE"]) + 3.0)
    if fault.startswith("wait:"):  # until FILE is taken away
        file = Path(fault.removeprefix("wait:"))
        file.touch()
        while file.exists():
            time.sleep(0.05)
    if fault == "fill":  # no file can grow any more, as on a full disk
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))


def enter(self, step):
    whole_enter(self, step)
    if launch.mpi_rank() == rank and where in self.step:
        fail()


Timeout.enter = enter
main()
