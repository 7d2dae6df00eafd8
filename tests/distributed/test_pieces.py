"""Grids, heartbeats, shards and launchers: the small parts of running on ranks."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import espalier as esp
from espalier import InputError, MissingExtraError
from espalier.distributed.comm import launch
from espalier.distributed.comm.heartbeat import SLOT, HeartbeatFile
from espalier.distributed.comm.process_grid import (
    parts_for_inference,
    parts_for_training,
    training_words,
)
from espalier.distributed.comm.timeout import Timeout
from espalier.distributed.training.buffer_pool import BufferPool
from espalier.distributed.training.sharding import Shard


def test_replicas_as_long_as_the_network_fits_and_samples_suffice():
    net = esp.radixnet(1024, 4)
    size = 8 * net.connections

    assert parts_for_inference(net, 4, samples=1000) == 1
    assert parts_for_inference(net, 4, samples=1000, memory=2 * size) == 2
    assert parts_for_inference(net, 4, samples=1000, memory=size // 2) == 4
    assert parts_for_inference(net, 4, samples=1) == 4


def test_training_takes_parts_below_the_crossover_batch_and_replicas_above():
    words, nonzeros = {1: 0, 2: 500, 4: 900}, 32_000

    assert parts_for_training(words, nonzeros, 4, batch=8) == 4
    assert parts_for_training(words, nonzeros, 4, batch=4096) == 1
    assert training_words(0, nonzeros, 1, 4, batch=64) == 2 * nonzeros * 3
    assert parts_for_training(words, nonzeros, 4, batch=3) == 4  # no replicas of 3 samples
    with pytest.raises(InputError, match="no grid of 4 ranks"):
        parts_for_training({1: 0, 2: 500}, nonzeros, 4, batch=3)


def test_a_heartbeat_shows_the_last_step_of_every_rank(tmp_path):
    HeartbeatFile.create(tmp_path / "heartbeat", 3)
    heartbeats = [HeartbeatFile(tmp_path / "heartbeat", rank) for rank in range(3)]
    heartbeats[1].write("step 1")
    heartbeats[1].write("step 2" + "x" * SLOT)

    assert heartbeats[0].others() == {1: ("step 2" + "x" * SLOT)[: SLOT - 16]}
    assert heartbeats[1].others() == {}
    assert heartbeats[2].read()[1][0] == os.getpid()
    assert HeartbeatFile(None).others() == {}
    assert HeartbeatFile(tmp_path / "absent").others() == {}


@given(seed=st.integers(0, 99), parts=st.integers(1, 4), by_column=st.booleans())
def test_shards_find_their_rows_in_any_other_partition(seed, parts, by_column):
    rng = np.random.default_rng(seed)
    rows = 11
    counts = np.full(rows, 3) if by_column else rng.integers(0, 5, rows)
    whole = torch.arange(int(counts.sum()), dtype=torch.float32)
    starts = np.concatenate([[0], np.cumsum(counts)])

    def shards(parts):
        owners = rng.integers(0, parts, rows)
        for part in range(parts):
            mine = np.flatnonzero(owners == part)
            size = int(counts[mine].sum())
            order = None if by_column else rng.permutation(size)
            yield Shard(mine, counts[mine], order, by_column=by_column)

    def local(shard):
        packed = torch.cat([whole[starts[r] : starts[r + 1]] for r in shard.rows] or [whole[:0]])
        like = torch.empty(3, len(shard.rows)) if by_column else torch.empty(len(packed))
        return shard.unpack(packed, like)

    written = list(shards(parts))
    packed = torch.cat([shard.pack(local(shard)) for shard in written])
    every = np.concatenate([shard.rows for shard in written])
    for shard in shards(3):
        places = shard.find(every, np.concatenate([each.counts for each in written]))
        found = shard.unpack(packed[torch.from_numpy(places)], local(shard))
        torch.testing.assert_close(found, local(shard), rtol=0, atol=0)


def test_shards_notice_missing_rows_and_other_patterns():
    shard = Shard(np.array([1, 4]), np.array([2, 2]))
    assert shard.find(np.array([0, 1]), np.array([2, 2])) is None
    assert shard.find(np.array([1, 4]), np.array([2, 3])) is None
    assert shard.find(np.array([4, 1]), np.array([2, 2])).tolist() == [2, 3, 0, 1]


def test_a_pool_knows_its_buffers_even_where_nothing_of_them_is_used():
    pool = BufferPool()
    nothing, something = pool.allocate(4, 3, used=0), pool.allocate(4, 3, used=2)
    assert pool.panels(nothing, 3).shape == pool.panels(something, 3).shape == (1, 3, 4)
    assert pool.panels(nothing, 3).ctypes.data != pool.panels(something, 3).ctypes.data
    assert pool.panels(something[:, 1:], 2) is None
    assert pool.panels(torch.zeros(3, 4).T, 3) is None


@pytest.mark.parametrize("patience", ["0", "-1", "soon", "inf", "nan"])
def test_bad_patience_is_refused(monkeypatch, patience):
    monkeypatch.setenv("ESPALIER_PATIENCE", patience)
    with pytest.raises(InputError, match="ESPALIER_PATIENCE"):
        Timeout(0, lambda code: None, None)


def test_a_machine_without_mpi_is_told_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtraError, match=r"pip install 'mpi4py>="):
        launch.launch(["info"], 2)
    with pytest.raises(InputError, match="ranks is 0"):
        launch.launch(["info"], 0)


def test_a_rank_is_known_by_its_launcher(monkeypatch):
    for name in itertools.chain(*launch.RANK_AND_SIZE):
        monkeypatch.delenv(name, raising=False)
    assert launch.mpi_rank() is None
    monkeypatch.setenv("PMI_SIZE", "1")
    monkeypatch.setenv("PMI_RANK", "0")
    assert launch.mpi_rank() is None
    monkeypatch.setenv("PMI_SIZE", "4")
    monkeypatch.setenv("PMI_RANK", "3")
    assert launch.mpi_rank() == 3
    monkeypatch.delenv("PMI_RANK")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    assert launch.mpi_rank() is None
    monkeypatch.setenv("PMIX_RANK", "1")
    assert launch.mpi_rank() == 1


OPEN_MPI = """
--------------------------------------------------------------------------
prterun noticed that process rank 1 with PID {process} on node here exited on
signal 9 (Killed).
--------------------------------------------------------------------------
"""
MPICH = """

===================================================================================
=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES
=   PID {process} RUNNING AT here
=   EXIT CODE: 9
=   CLEANING UP REMAINING PROCESSES
=   YOU CAN IGNORE THE BELOW CLEANUP MESSAGES
===================================================================================
YOUR APPLICATION TERMINATED WITH THE EXIT STRING: Killed (signal 9)
This typically refers to a problem with your application.
Please see the FAQ page for debugging suggestions
"""
MPIEXEC = """#!{python}
import os, sys
if "--version" in sys.argv:
    sys.exit(print({version!r}))
from espalier.distributed.comm.heartbeat import HeartbeatFile
HeartbeatFile.of_this_run({rank}).write("epoch 2, forward")
print("= a line of a rank\\n" + 30 * "-", flush=True)
print({text!r}.format(process=os.getpid()), file=sys.{stream})
sys.exit({code})
"""


@pytest.mark.parametrize(
    ("version", "text", "stream", "code"),
    [
        ("mpiexec (Open MPI) 5.0.11", OPEN_MPI, "stderr", 137),
        ("HYDRA build details:", MPICH, "stdout", 9),
    ],
)
@pytest.mark.parametrize(
    ("rank", "said"),
    [(1, "rank 1 was ended by signal 9 in epoch 2, forward"), (0, "was ended by signal 9")],
)
def test_a_dead_rank_is_told_in_our_words_by_either_mpi(
    monkeypatch, tmp_path, capfd, version, text, stream, code, rank, said
):
    mpiexec = tmp_path / "mpiexec"
    known = {"version": version, "text": text, "stream": stream, "code": code, "rank": rank}
    mpiexec.write_text(MPIEXEC.format(python=sys.executable, **known))
    mpiexec.chmod(0o755)
    monkeypatch.setattr(launch, "find_mpiexec", lambda: mpiexec)

    assert launch.launch(["info"], 2) == 137

    out, err = capfd.readouterr()
    assert out.split() == ["=", "a", "line", "of", "a", "rank", 30 * "-"]
    assert said in err and err.startswith("error: ") and err.count("\n") == 1


def test_a_terminated_launcher_ends_its_ranks_and_leaves_nothing(tmp_path):
    mpiexec = tmp_path / "mpiexec"
    mpiexec.write_text(
        f"#!{sys.executable}\nimport os, sys, time\n"
        "if '--version' in sys.argv:\n    sys.exit(print('Open MPI'))\n"
        "print(os.getpid(), os.environ['ESPALIER_HEARTBEAT'], flush=True)\ntime.sleep(60)\n"
    )
    mpiexec.chmod(0o755)
    code = (
        "import pathlib, sys; from espalier.distributed.comm import launch; "
        "launch.find_mpiexec = lambda: pathlib.Path(sys.argv[1]); launch.launch(['info'], 2)"
    )
    launcher = subprocess.Popen(
        [sys.executable, "-c", code, str(mpiexec)], stdout=subprocess.PIPE, text=True
    )
    with launcher:
        assert launcher.stdout is not None
        process, heartbeat = launcher.stdout.readline().split()
        launcher.terminate()
        assert launcher.wait(timeout=30) == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(int(process), 0)
    assert not Path(heartbeat).parent.exists()
