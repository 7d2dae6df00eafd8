"""The same work by espalier and by its peers: checked to be equal, then timed, interleaved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from espalier.errors import EspalierError
from espalier.progress import Progress
from espalier.timing.interleave import time_interleaved

ROUNDS = 3, 25  # at least and at most
ROUNDING = 1e-3  # of float32, as a part of a result's norm
PAYS = 1.05  # a gain below this is within the noise of a minute
OURS = "espalier"

Work = Callable[[], Sequence[Any]]  # does all of it once; gives its results as arrays


class Gain(NamedTuple):
    """What was measured: median seconds, and how many times as long each peer took."""

    seconds: dict[str, float]
    gains: dict[str, float]
    advice: str


@dataclass(frozen=True)
class Workload:
    """The same work by espalier and by its peers.

    Arguments:
        advice: what to do about it, from the gain over each peer.
        rounding: by name, of peers that compute less exactly than in float32.
    """

    ours: Work
    peers: Mapping[str, Work]
    advice: Callable[[Mapping[str, float]], str]
    rounding: Mapping[str, float]

    def measure(self, budget: float, progress: Progress) -> Gain:
        """Check that all compute the same, then time them, interleaved.

        Arguments:
            budget: seconds to spend; three rounds are always timed.

        Raises:
            EspalierError: a peer computes something else.
        """
        expected = self.ours()
        for name, peer in self.peers.items():
            error, most = difference(peer(), expected), self.rounding.get(name, ROUNDING)
            if not error <= most:
                raise EspalierError(
                    f"{name} differs from espalier by {error:.2g} of the result's norm, wanted at "
                    f"most {most:.2g}; nothing is timed"
                )
        works = {OURS: self.ours, **self.peers}
        start = perf_counter()
        time_interleaved(works, rounds=1, warm_ups=0, settle=0.0)
        least, most = ROUNDS
        rounds = min(max(int(budget / (perf_counter() - start)), least), most)
        timed = time_interleaved(works, rounds=rounds, warm_ups=0, settle=0.0, progress=progress)
        seconds = {name: spread.median for name, spread in timed.items()}
        gains = {name: seconds[name] / seconds[OURS] for name in self.peers}
        return Gain(seconds, gains, self.advice(gains))


def difference(found: Sequence[Any], expected: Sequence[Any]) -> float:
    """The norm of the difference of two lists of arrays, as a part of the second's norm.

    >>> difference([np.array([3.0, 4.0])], [np.array([3.0, 4.0])])
    0.0
    """
    mine, theirs = (
        np.concatenate([np.asarray(array, np.float64).ravel() for array in arrays])
        for arrays in (found, expected)
    )
    return float(np.linalg.norm(mine - theirs)) / max(float(np.linalg.norm(theirs)), 1e-30)
