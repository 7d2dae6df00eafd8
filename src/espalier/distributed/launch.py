"""Start a command on several ranks, and say what happened when it does not end well."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from espalier.distributed.board import VARIABLE, Board
from espalier.errors import InputError, MissingExtraError

RANK_VARIABLES = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK")
SIZE_VARIABLES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
ESPALIER = ("-m", "espalier")
OUTPUT_COLUMNS = 160  # of tables that go to a file or a pipe
# Lines of the launchers themselves, which say nothing that a user of espalier could use.
_NOISE = re.compile(
    r"^(-{20,}|=+$|= +|MPI_ABORT was invoked|  Proc: |  Errorcode: |NOTE: invoking MPI_ABORT|"
    r"You may or may not see|exactly when Open MPI|prterun has exited|\"abort\"\. This may|"
    r"terminated by signals sent|prterun noticed that|signal \d+ \(|This error may|Abort\(\d+\)|"
    r"YOUR APPLICATION TERMINATED|This typically refers)"
)
_DEAD = re.compile(r"process rank (\d+) with PID (\d+).*signal (\d+)")


def mpi_rank() -> int | None:
    """The rank of this process if a launcher of MPI started it beside others, else None."""
    sizes = (os.environ.get(name) for name in SIZE_VARIABLES)
    if not any(size and int(size) > 1 for size in sizes):
        return None
    return next((int(os.environ[name]) for name in RANK_VARIABLES if name in os.environ), None)


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
    with tempfile.TemporaryDirectory(prefix="espalier-") as folder:
        board = Path(folder) / "board"
        Board.create(board, ranks)
        environment = {**os.environ, VARIABLE: str(board), **_defaults(ranks, threads)}
        command = [
            *(str(mpiexec), "-n", str(ranks), *_options(mpiexec)),
            *(sys.executable, "-m", "mpi4py", *program, *arguments),
        ]
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        try:
            dead = _forward(process)
            code = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
        if code < 0:
            code = 128 - code
        if code and dead:
            _explain(dead, Board(board))
        return code


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


def _options(mpiexec: Path) -> list[str]:
    """Open MPI refuses more ranks than cores unless it is told; MPICH never does."""
    version = subprocess.run(
        [str(mpiexec), "--version"], capture_output=True, text=True, check=False
    ).stdout
    return ["--oversubscribe", "--bind-to", "none"] if "Open MPI" in version else []


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


def _forward(process: subprocess.Popen[str]) -> Mapping[int, int]:
    """Pass on what ranks say; returns the ranks that a signal ended, with the signal."""
    dead: dict[int, int] = {}
    assert process.stderr is not None
    before = ""
    for line in process.stderr:
        # Open MPI breaks its sentence about a dead process into two lines.
        if match := _DEAD.search(f"{before.rstrip()} {line}"):
            dead.setdefault(int(match[1]), int(match[3]))
        before = line
        if line.strip() and not _NOISE.match(line):
            sys.stderr.write(line.lstrip(" "))
            sys.stderr.flush()
    return dead


def _explain(dead: Mapping[int, int], board: Board) -> None:
    steps = board.read()
    for rank, signal in dead.items():
        where = f" in {steps[rank][1]}" if rank in steps else ""
        print(f"error: rank {rank} was ended by signal {signal}{where}", file=sys.stderr)
