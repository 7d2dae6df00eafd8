"""Start a command on several ranks, and say what happened when it does not end well."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread, current_thread, main_thread
from typing import IO

from espalier.distributed.comm.heartbeat import VARIABLE, HeartbeatFile
from espalier.errors import InputError, MissingExtraError

# Of Open MPI, of MPICH and its kin, and of Slurm where it speaks PMIx.
RANK_AND_SIZE = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
    ("PMIX_RANK", "SLURM_STEP_NUM_TASKS"),
)
ESPALIER = ("-m", "espalier")
OUTPUT_COLUMNS = 160  # of tables that go to a file or a pipe
# It refuses more ranks than cores unless it is told, and binds each to one.
_OPEN_MPI_OPTIONS = ("--oversubscribe", "--bind-to", "none")
# Lines of the launchers themselves, which say nothing that a user of espalier could use. MPICH's
# come on stdout, among results: there these alone are taken out.
_MPICH_END = (
    r"={83}$|=   (BAD TERMINATION OF ONE|PID \d+ RUNNING AT|EXIT CODE: \d+$|CLEANING UP REMAINING|"
    r"YOU CAN IGNORE THE BELOW)|YOUR APPLICATION TERMINATED WITH THE EXIT STRING|"
    r"This typically refers to a problem|Please see the FAQ page for debugging"
)
_ON_STDOUT = re.compile(_MPICH_END)
_ON_STDERR = re.compile(
    rf"{_MPICH_END}|-{{20,}}$|MPI_ABORT was invoked|  Proc: |  Errorcode: |\[(mpiexec|proxy):|"
    r"NOTE: invoking MPI_ABORT|\"abort\"\. This may|You may or may not see|exactly when Open MPI|"
    r"terminated by signals sent|(prterun|mpirun|mpiexec) (noticed that|has exited)|"
    r"signal \d+ \(|This error may|Abort\(\d+\)"
)
# What they say of a process that a signal ended: Open MPI names its rank, MPICH its number.
_DEAD_RANK = re.compile(r"process rank (\d+) with PID \d+.*?signal (\d+)")
_DEAD_PROCESS = re.compile(r"PID (\d+) RUNNING AT.*?EXIT STRING: .*?\(signal (\d+)\)")


def mpi_rank() -> int | None:
    """The rank of this process if a launcher of MPI started it beside others, else None."""
    for rank, size in RANK_AND_SIZE:
        if rank in os.environ and int(os.environ.get(size) or 1) > 1:
            return int(os.environ[rank])
    return None


def launch(
    arguments: Sequence[str],
    ranks: int,
    *,
    threads: int | None = None,
    program: Sequence[str] = ESPALIER,
) -> int:
    """Run ``espalier`` with these arguments on several ranks of this machine.

    Arguments:
        threads: of each rank; None for its share of the cores.
        program: what Python is to run in its place.

    Returns:
        The exit code: 0 if every rank ended well.

    Raises:
        InputError: ranks below 1.
        MissingExtraError: mpi4py or an MPI is not installed.
    """
    if ranks < 1:
        raise InputError(f"ranks is {ranks}, wanted 1 or more")
    mpiexec = find_mpiexec()
    open_mpi = _is_open_mpi(mpiexec)
    with tempfile.TemporaryDirectory(prefix="espalier-") as folder:
        heartbeat = Path(folder) / "heartbeat"
        HeartbeatFile.create(heartbeat, ranks)
        with (
            _ended_by_signal(),
            subprocess.Popen(
                [
                    *(str(mpiexec), "-n", str(ranks), *(_OPEN_MPI_OPTIONS if open_mpi else ())),
                    *(sys.executable, "-m", "mpi4py", *program, *arguments),
                ],
                env={**os.environ, VARIABLE: str(heartbeat), **_defaults(ranks, threads)},
                # MPICH says there, too, what became of the ranks, which have no terminal anyway.
                stdout=None if open_mpi else subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            ) as process,
        ):
            try:
                said = _forward(process)
            except BaseException:
                process.terminate()
                raise
        return _explain(process.returncode, " ".join(said), HeartbeatFile(heartbeat))


def find_mpiexec() -> Path:
    """The launcher of the MPI beside this Python, or on the path.

    Raises:
        MissingExtraError: there is none, or no mpi4py.
    """
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None:
        raise MissingExtraError("an MPI with mpiexec", "mpi", "running on several ranks")
    if not _has_mpi4py():
        raise MissingExtraError("mpi4py", "mpi", "running on several ranks")
    return Path(found)


def _has_mpi4py() -> bool:
    from importlib.util import find_spec

    return find_spec("mpi4py") is not None


def _is_open_mpi(mpiexec: Path) -> bool:
    command = [str(mpiexec), "--version"]
    return "Open MPI" in subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _defaults(ranks: int, threads: int | None) -> dict[str, str]:
    share = max(1, (len(os.sched_getaffinity(0)) or 1) // ranks)
    wanted = {
        "OMP_NUM_THREADS": str(threads or share),
        # A rank that waits for another on the same core must not spin.
        "OMP_WAIT_POLICY": "passive",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PYTHONUNBUFFERED": "1",
    }
    if not sys.stdout.isatty():  # MPI gives its processes a terminal all the same
        wanted |= {"NO_COLOR": "1", "TTY_COMPATIBLE": "0", "COLUMNS": str(OUTPUT_COLUMNS)}
    if threads is not None:
        return wanted
    return {name: value for name, value in wanted.items() if name not in os.environ}


@contextmanager
def _ended_by_signal() -> Iterator[None]:
    """Let SIGTERM end this process as Ctrl-C does: the ranks first, then the heartbeat's folder."""
    if current_thread() is not main_thread():  # where Python takes no signals
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _forward(process: subprocess.Popen[str]) -> list[str]:
    """Pass on what the ranks say, until they have ended; returns what the launcher says."""
    said: list[str] = []
    assert process.stderr is not None
    errors = Thread(target=_forward_errors, args=(process.stderr, said))
    errors.start()
    for line in process.stdout or ():
        if _ON_STDOUT.match(line):
            said.append(line.strip())
        else:
            sys.stdout.write(line)
            sys.stdout.flush()
    errors.join()
    return said


def _forward_errors(source: IO[str], said: list[str]) -> None:
    """Read to the end even where stderr is closed: a rank that cannot write would wait for ever."""
    for line in source:
        if _ON_STDERR.match(line):
            said.append(line.strip())
        elif line.strip():
            with suppress(OSError):
                sys.stderr.write(line.lstrip(" "))
                sys.stderr.flush()


def _explain(code: int, said: str, heartbeat: HeartbeatFile) -> int:
    """Say which ranks a signal ended, and where; returns the exit code.

    Arguments:
        code: of the launcher, as Python has it.
        said: by the launcher.
    """
    if code < 0:
        return 128 - code
    steps = heartbeat.read()
    ranks = {process: rank for rank, (process, _) in steps.items()}
    dead = {int(rank): int(number) for rank, number in _DEAD_RANK.findall(said)}
    for process, number in _DEAD_PROCESS.findall(said):
        if int(process) in ranks:
            dead[ranks[int(process)]] = int(number)
        elif code:
            print(f"error: process {process} was ended by signal {number}", file=sys.stderr)
    if not code or not dead:
        return code
    for rank, number in dead.items():
        where = f" in {steps[rank][1]}" if rank in steps else ""
        print(f"error: rank {rank} was ended by signal {number}{where}", file=sys.stderr)
    return 128 + next(iter(dead.values()))
