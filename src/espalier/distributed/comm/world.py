"""The processes of a run: a grid of replicas and parts, and what they agree on.

Every replica holds the whole network, cut into parts; replicas share out the samples. Rank ``r``
is part ``r % parts`` of replica ``r // parts``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from espalier.distributed.comm.timeout import Timeout
from espalier.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from mpi4py import MPI

FOR_FILES = 30  # times the patience: disks may be slow, and say nothing meanwhile


class World:
    """This process among the others.

    Arguments:
        parts: parts of a replica, a divisor of the number of ranks; None for all of them.
        comm: mpi4py communicator of all ranks; None for ``COMM_WORLD``.
        patience: seconds to wait for others without progress before the run is ended; None for
            the environment's ``ESPALIER_PATIENCE``, or 60.

    Attributes:
        rank, ranks: of this process, and how many there are.
        part, parts: of this process in its replica.
        replica, replicas: likewise.
        within: communicator of the parts of this replica, in their order.
        across: communicator of this part in all replicas, in their order.

    Raises:
        InputError: parts that do not divide the ranks.
        MissingExtraError: mpi4py is not installed.
    """

    def __init__(
        self,
        parts: int | None = None,
        comm: MPI.Comm | None = None,
        patience: float | None = None,
    ) -> None:
        mpi = import_mpi()
        given: MPI.Comm = mpi.COMM_WORLD if comm is None else comm
        self.rank, self.ranks = given.rank, given.size
        self.timeout = Timeout(self.rank, given.Abort, patience)
        self.parts = self.ranks if parts is None else parts
        if not 1 <= self.parts <= self.ranks or self.ranks % self.parts:
            raise InputError(
                f"parts is {parts} with {self.ranks} ranks, wanted a divisor of the ranks: every "
                "replica of the network has as many parts"
            )
        self.replicas = self.ranks // self.parts
        self.replica = self.rank // self.parts
        self.part = self.rank % self.parts
        self.barrier(given)
        self.comm: MPI.Comm = given.Dup()
        self.within: MPI.Comm = self.comm.Split(self.replica, self.part)
        self.across: MPI.Comm = self.comm.Split(self.part, self.replica)

    @property
    def one_machine(self) -> bool:
        """Whether all parts of this replica share memory."""
        mpi = import_mpi()
        self.barrier(self.within)
        beside = self.within.Split_type(mpi.COMM_TYPE_SHARED)
        together = bool(beside.size == self.parts)
        beside.Free()
        return together

    def agree(self, what: str, value: str) -> None:
        """Check that all ranks hold the same.

        Arguments:
            what: its name in the error.
            value: anything as text, a checksum say.

        Raises:
            InputError: they do not; every rank raises, and names the ranks that differ.
        """
        texts = [bytes(each).decode() for each in self.gather(np.frombuffer(value.encode(), "u1"))]
        differing = [rank for rank, text in enumerate(texts) if text != texts[0]]
        if differing:
            raise InputError(
                f"{what} differs between ranks: rank {differing[0]} has {texts[differing[0]]}, "
                f"rank 0 has {texts[0]}; give all of them the same"
            )

    def gather(self, array: NDArray[Any], comm: MPI.Comm | None = None) -> list[NDArray[Any]]:
        """The arrays of all ranks, or of those of one communicator, in their order."""
        comm = comm or self.comm
        pieces, target = self._room(array, comm)
        self.timeout.wait([comm.Iallgatherv(np.ascontiguousarray(array), target)])
        return pieces

    def collect(self, array: NDArray[Any]) -> list[NDArray[Any]] | None:
        """The arrays of all ranks on rank 0, None on the others."""
        pieces, target = self._room(array, self.comm, wanted=self.rank == 0)
        self.timeout.wait([self.comm.Igatherv(np.ascontiguousarray(array), target)])
        return None if self.rank else pieces

    def _room(
        self, array: NDArray[Any], comm: MPI.Comm, *, wanted: bool = True
    ) -> tuple[list[NDArray[Any]], Any]:
        """Room for the arrays of all ranks, if it is wanted here, and how MPI is told of it."""
        counts = np.empty(comm.size, np.int64)
        self.timeout.wait([comm.Iallgather(np.array([len(array)], np.int64), counts)])
        if not wanted:
            return [], None
        whole = np.empty(int(counts.sum()), array.dtype)
        bounds = np.concatenate([[0], np.cumsum(counts)])
        target = [whole, counts.tolist(), bounds[:-1].tolist(), _mpi_type(array.dtype)]
        return [whole[a:b] for a, b in pairwise(bounds)], target

    def swap(self, arrays: Sequence[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
        """Give each part of this replica its array and get theirs, in the order of parts."""
        lengths = np.array([len(array) for array in arrays], np.int64)
        counts = np.empty(self.parts, np.int64)
        self.timeout.wait([self.within.Ialltoall(lengths, counts)])
        whole = np.empty(int(counts.sum()), np.int64)
        bounds = np.concatenate([[0], np.cumsum(counts)])
        starts = np.concatenate([[0], np.cumsum(lengths)])[:-1]
        packed = np.concatenate([*arrays, np.empty(0, np.int64)])
        sending = [packed, lengths.tolist(), starts.tolist(), _mpi_type(packed.dtype)]
        target = [whole, counts.tolist(), bounds[:-1].tolist(), _mpi_type(whole.dtype)]
        self.timeout.wait([self.within.Ialltoallv(sending, target)])
        return [whole[a:b] for a, b in pairwise(bounds)]

    def any_bits(self, bits: NDArray[np.uint8]) -> None:
        """In place: the bits that are set on any part of this replica."""
        mpi = import_mpi()
        if self.parts > 1:
            self.timeout.wait([self.within.Iallreduce(mpi.IN_PLACE, bits, op=mpi.BOR)])

    def largest(self, numbers: Sequence[int]) -> list[int]:
        """Of each number, the largest on any rank."""
        mpi = import_mpi()
        array = np.array(numbers, np.int64)
        self.timeout.wait([self.comm.Iallreduce(mpi.IN_PLACE, array, op=mpi.MAX)])
        return [int(number) for number in array]

    def barrier(self, comm: MPI.Comm | None = None, *, times: int = 1) -> None:
        """Wait until all ranks are here, or those of one communicator.

        It goes before every call of MPI that cannot be given up, so that such a call finds all
        ranks there.

        Arguments:
            times: how often the patience, such as `FOR_FILES` while some rank writes one.
        """
        self.timeout.wait([(comm or self.comm).Ibarrier()], times=times)


def add_in_order(world: World, comm: MPI.Comm, array: NDArray[np.float32]) -> None:
    """In place: the sum over the ranks of a communicator, added in their order.

    Every rank adds up one slice of all ranks' arrays and gives the others its sums, so that each
    word travels twice, and the bits depend on nothing but the number of ranks.
    """
    if comm.size == 1 or not len(array):
        return
    size = -(-len(array) // comm.size)
    slices = np.zeros((comm.size, size), np.float32)
    slices.reshape(-1)[: len(array)] = array
    theirs = np.empty_like(slices)
    world.timeout.wait([comm.Ialltoall(slices, theirs)])
    sums = theirs[0].copy()
    for other in theirs[1:]:
        sums += other
    world.timeout.wait([comm.Iallgather(sums, slices)])
    array[:] = slices.reshape(-1)[: len(array)]


def import_mpi() -> Any:
    """The module `mpi4py.MPI`.

    Raises:
        MissingExtraError: it is not installed.
    """
    # One-sided transfers by UCX complain on stderr wherever there is no such network.
    os.environ.setdefault("OMPI_MCA_osc", "^ucx")
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise MissingExtraError("mpi4py", "mpi", "running on several ranks") from error
    return MPI


def _mpi_type(dtype: np.dtype[Any]) -> Any:
    from mpi4py.util import dtlib

    return dtlib.from_numpy_dtype(dtype)
